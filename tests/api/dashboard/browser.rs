//! As much of a browser as these tests need: it keeps cookies, follows nothing, and can be made to lie.

use std::collections::BTreeMap;

use haulier::domain::Scope;
use percent_encoding::{NON_ALPHANUMERIC, utf8_percent_encode};
use reqwest::{Client, Method, RequestBuilder, Response, header, redirect::Policy};

use crate::support::{ADMIN, TestApp};

/// A request with these fields as its body.
pub fn filled(request: RequestBuilder, fields: &[(&str, &str)]) -> RequestBuilder {
    let escape = |text| utf8_percent_encode(text, NON_ALPHANUMERIC).to_string();
    let pairs: Vec<_> = fields.iter().map(|(name, value)| format!("{}={}", escape(name), escape(value))).collect();
    request.header(header::CONTENT_TYPE, "application/x-www-form-urlencoded").body(pairs.join("&"))
}

pub struct Browser {
    client: Client,
    base: String,
    cookies: BTreeMap<String, String>,
}

/// An answer, read to its end.
#[derive(Debug)]
pub struct Page {
    pub status: u16,
    pub location: Option<String>,
    pub headers: header::HeaderMap,
    pub text: String,
}

impl Page {
    /// What stands in a hidden field of the first form that has it.
    pub fn hidden(&self, name: &str) -> String {
        let marker = format!("name=\"{name}\" value=\"");
        let rest = self.text.split_once(&marker).unwrap_or_else(|| panic!("no field {name} in {}", self.text)).1;
        rest.split('"').next().unwrap().to_owned()
    }
}

impl Browser {
    pub fn new(app: &TestApp) -> Self {
        let client = Client::builder().redirect(Policy::none()).build().unwrap();
        Self { client, base: app.client.url().to_owned(), cookies: BTreeMap::new() }
    }

    /// Signed in with the installation's admin token.
    pub async fn admin(app: &TestApp) -> Self {
        Self::with(app, ADMIN).await
    }

    /// Signed in with this token.
    pub async fn with(app: &TestApp, token: &str) -> Self {
        let mut browser = Self::new(app);
        let page = browser.post("/sign-in", &[("token", token)]).await;
        assert_eq!((page.status, page.location.as_deref()), (303, Some("/")), "{}", page.text);
        browser
    }

    /// Signed in with a new token of the project that has these scopes, and is bound to these jobs.
    pub async fn scoped(app: &TestApp, name: &str, scopes: &[Scope], jobs: &[&str]) -> Self {
        let request = crate::tokens::token(name, scopes, jobs);
        let made = app.client.create_token(&request).await.unwrap();
        Self::with(app, &made.secret).await
    }

    pub fn cookie(&self, name: &str) -> Option<&str> {
        self.cookies.get(name).map(String::as_str)
    }

    pub fn request(&self, method: Method, path: &str) -> RequestBuilder {
        let cookies: Vec<_> = self.cookies.iter().map(|(name, value)| format!("{name}={value}")).collect();
        self.client.request(method, format!("{}{path}", self.base)).header(header::COOKIE, cookies.join("; "))
    }

    pub async fn send(&mut self, request: RequestBuilder) -> Page {
        let response = request.send().await.unwrap();
        self.keep_cookies(&response);
        let (status, headers) = (response.status().as_u16(), response.headers().clone());
        let location = headers.get(header::LOCATION).map(|value| value.to_str().unwrap().to_owned());
        Page { status, location, headers, text: response.text().await.unwrap() }
    }

    fn keep_cookies(&mut self, response: &Response) {
        for line in response.headers().get_all(header::SET_COOKIE) {
            let pair = line.to_str().unwrap().split(';').next().unwrap();
            let (name, value) = pair.split_once('=').unwrap();
            match value {
                "" => self.cookies.remove(name),
                value => self.cookies.insert(name.to_owned(), value.to_owned()),
            };
        }
    }

    pub async fn get(&mut self, path: &str) -> Page {
        let request = self.request(Method::GET, path);
        self.send(request).await
    }

    /// A page that is there.
    pub async fn page(&mut self, path: &str) -> Page {
        let page = self.get(path).await;
        assert_eq!(page.status, 200, "{path}: {}", page.text);
        page
    }

    /// Sends a form as it is.
    pub async fn post(&mut self, path: &str, fields: &[(&str, &str)]) -> Page {
        let request = filled(self.request(Method::POST, path), fields);
        self.send(request).await
    }

    /// Sends a form of ours: with what shows that it is.
    pub async fn submit(&mut self, path: &str, fields: &[(&str, &str)]) -> Page {
        let csrf = self.page("/").await.hidden("csrf");
        let fields: Vec<_> = std::iter::once(("csrf", csrf.as_str())).chain(fields.iter().copied()).collect();
        self.post(path, &fields).await
    }
}
