//! The store's contract, run on both databases. `eval "$(tests/support/infra)"` brings a PostgreSQL.

use haulier::{store::contract::TestDatabase, store_contract};

store_contract!(on_sqlite, sqlite);
store_contract!(on_postgres, postgres);

async fn sqlite() -> Option<TestDatabase> {
    Some(TestDatabase::sqlite())
}

async fn postgres() -> Option<TestDatabase> {
    TestDatabase::postgres().await
}

/// Also when a test fails, its database does not stay.
#[tokio::test]
async fn databases_are_removed_by_a_panic() {
    let database = TestDatabase::sqlite();
    let file = database.url().strip_prefix("sqlite:").unwrap().to_owned();
    std::fs::write(&file, "").unwrap();
    let panicked = tokio::spawn(async move {
        let _database = database;
        panic!("on purpose");
    });
    assert!(panicked.await.unwrap_err().is_panic());
    assert!(!std::path::Path::new(&file).exists());
}
