use serde_json::json;

use crate::support::TestApp;

#[tokio::test]
async fn limits_are_made_changed_and_removed() {
    let app = TestApp::start().await;
    assert_eq!(app.client.set_limit("api", 2).await.unwrap().capacity, 2);
    assert_eq!(app.client.set_limit("api", 5).await.unwrap().capacity, 5);
    app.apply(json!({"name": "a", "image": "sim/ok", "limits": [{"name": "api"}]})).await;
    assert_eq!(app.client.remove_limit("api").await.unwrap_err().code(), Some("limit_in_use"));
    app.client.patch_job("a", &json!({"limits": []})).await.unwrap();
    app.client.remove_limit("api").await.unwrap();
    assert_eq!(app.client.remove_limit("api").await.unwrap_err().status(), Some(404));
    assert_eq!(app.raw("PUT", "/limits/api", r#"{"capacity": 10001}"#).await.0, 422);
    assert_eq!(app.raw("PUT", "/limits/api", r#"{"capacity": -1}"#).await.0, 422);
    assert!(app.client.limits(None).await.unwrap().items.is_empty());
}
