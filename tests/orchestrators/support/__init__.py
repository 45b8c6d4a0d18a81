"""What the tests of clients and orchestrators run against."""
