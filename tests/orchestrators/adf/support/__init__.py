"""What stands in for Azure, and the service under test."""
