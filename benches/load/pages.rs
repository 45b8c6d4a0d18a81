//! How long the dashboard's pages take, one after the other on one connection, as a browser sees it.

use std::time::Instant;

use reqwest::{Client, header, redirect::Policy};
use serde_json::json;

use crate::{
    service::{Bench, TOKEN},
    table::{Table, median, quantile},
};

/// How often each page is asked for.
const TIMES: usize = 200;
/// The hours that are over are counted with the first of these.
const WARM: usize = 3;

/// Every page that reads the database.
pub async fn measure(bench: &Bench, table: &mut Table) {
    bench.job("pages", json!({"image": "sim/ok", "args": ["print=a line"], "max_parallel": 1})).await;
    let mut connection = bench.connection().await;
    connection.json("PUT", "/api/v1/limits/pages", r#"{"capacity": 4}"#).await;
    let run = connection.trigger("pages").await;
    connection.wait(&run).await;
    let cookie = format!("cookie: {}\r\n", sign_in(bench).await);
    // A job with a long history, where there is one.
    let labelled = connection.json("GET", "/api/v1/runs?label=team%3Dsales&limit=1", "").await;
    let job = labelled["items"][0]["job"].as_str().unwrap_or("pages").to_owned();
    for (what, path) in [
        ("overview", "/".to_owned()),
        ("jobs", "/jobs".to_owned()),
        ("jobs by a name that none has", "/jobs?q=nothing-like-it".to_owned()),
        ("job", format!("/jobs/{job}")),
        ("job's revisions", format!("/jobs/{job}/revisions")),
        ("job's state", format!("/jobs/{job}/state")),
        ("form to trigger", format!("/jobs/{job}/trigger")),
        ("runs", "/runs".to_owned()),
        ("failed runs", "/runs?state=failed".to_owned()),
        ("runs that timed out, of which there are none", "/runs?state=timed_out".to_owned()),
        ("cancelling runs, likewise", "/runs?state=cancelling".to_owned()),
        ("runs of a job", format!("/runs?job={job}")),
        ("runs of a job that timed out", format!("/runs?job={job}&state=timed_out")),
        ("runs with a label", "/runs?label=team%3Dsales".to_owned()),
        ("failed runs with a label", "/runs?label=team%3Dsales&state=failed".to_owned()),
        ("runs with a label that none has", "/runs?label=team%3Dnobody".to_owned()),
        ("run with its log", format!("/runs/{run}")),
        ("limits", "/limits".to_owned()),
        ("limit", "/limits/pages".to_owned()),
        ("engines", "/engines".to_owned()),
        ("open notices", "/notices".to_owned()),
        ("notices that are over", "/notices?over=true".to_owned()),
        ("tokens", "/tokens".to_owned()),
        ("audit", "/audit".to_owned()),
    ] {
        let request = connection.request("GET", &path, &cookie, "");
        let mut took = Vec::with_capacity(TIMES);
        for number in 0..WARM + TIMES {
            let begun = Instant::now();
            connection.send(&request).await;
            if number >= WARM {
                took.push(begun.elapsed().as_secs_f64() * 1000.0);
            }
        }
        table.add(format!("page: {what}, ms (p50)"), "", median(&took));
        table.add(format!("page: {what}, ms (p99)"), "<= 20", quantile(&took, 0.99));
    }
}

/// What a browser holds that is signed in.
async fn sign_in(bench: &Bench) -> String {
    let client = Client::builder().redirect(Policy::none()).build().expect("a client");
    let form = client.post(format!("http://{}/sign-in", bench.address())).body(format!("token={TOKEN}"));
    let kind = "application/x-www-form-urlencoded";
    let answer = form.header(header::CONTENT_TYPE, kind).send().await.expect("an answer");
    let cookie = answer.headers()[header::SET_COOKIE].to_str().expect("text");
    cookie.split(';').next().expect("a pair").to_owned()
}
