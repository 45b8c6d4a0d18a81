//! Channels that notices are sent to.

use axum::{Json, extract::State, http::StatusCode};
use secrecy::SecretString;

use super::{
    Api, Problem,
    extract::{Body, InProject, Part, Query},
    revisions::PageQuery,
    types::{ChannelRequest, ChannelView, Page},
    views,
};
use crate::{
    callbacks::shown,
    domain::{ChannelId, ChannelKind, Name, Scope},
    store::StoredChannel,
};

fn view(channel: StoredChannel) -> ChannelView {
    let (last_error, failed_at) = channel.last_error.unzip();
    ChannelView {
        name: channel.name,
        spec: channel.spec,
        target: channel.target,
        updated_at: channel.updated_at,
        due_at: channel.due_at,
        delivered_at: channel.delivered_at,
        last_error,
        failed_at,
    }
}

/// The project's channels by name.
#[utoipa::path(get, path = "/channels", operation_id = "listChannels", tag = "monitoring", params(PageQuery),
    responses((status = 200, body = Page<ChannelView>), (status = "default", body = Problem)))]
pub(super) async fn list(
    State(api): State<Api>,
    at: InProject,
    Query(query): Query<PageQuery>,
) -> Result<Json<Page<ChannelView>>, Problem> {
    at.require(Scope::Read)?;
    let limit = views::page_size(query.limit)?;
    let after: Option<Name> = views::cursor(query.cursor.as_deref())?;
    let channels = api.store.channels(at.project.id, after.as_ref(), limit + 1).await?;
    let items = channels.into_iter().map(view).collect();
    Ok(Json(views::page(items, limit, |view: &ChannelView| view.name.to_string())))
}

/// Makes a channel, or changes it. It is told of what changes from now on.
#[utoipa::path(put, path = "/channels/{name}", operation_id = "setChannel", tag = "monitoring",
    params(("name" = String, Path)), request_body = ChannelRequest,
    responses((status = 200, body = ChannelView), (status = "default", body = Problem)))]
pub(super) async fn set(
    State(api): State<Api>,
    at: InProject,
    Part(name): Part<Name>,
    Body(request): Body<ChannelRequest>,
) -> Result<Json<ChannelView>, Problem> {
    at.require(Scope::Write)?;
    at.require_whole_project()?;
    views::checked(request.spec.check())?;
    let known = api.store.channel(at.project.id, &name).await?;
    let id = known.as_ref().map_or_else(ChannelId::generate, |known| known.id);
    let kept = known.filter(|known| known.spec.kind == request.spec.kind);
    let (secret, target) = match (request.spec.kind, &request.spec.email) {
        (ChannelKind::Email, Some(email)) => {
            if request.url.is_some() {
                return Err(Problem::invalid_field("/url", "is for other kinds: mail has 'email' and 'password'"));
            }
            if email.username.is_some() && request.password.is_none() && kept.is_none() {
                return Err(Problem::invalid_field("/password", "who logs in needs a password"));
            }
            (request.password, format!("{}:{}", email.host, email.port()))
        }
        _ => {
            if request.password.is_some() {
                return Err(Problem::invalid_field("/password", "is for kind email"));
            }
            let detail = "say where notices go, like https://hooks.example.com/…";
            match (request.url, &kept) {
                (Some(url), _) => {
                    let checked = api.callback_targets.check(&url);
                    let checked = checked.map_err(|error| Problem::invalid_field("/url", error))?;
                    (Some(url), shown(&checked))
                }
                (None, Some(kept)) => (None, kept.target.clone()),
                (None, None) => return Err(Problem::invalid_field("/url", detail)),
            }
        }
    };
    let secret = match (secret, kept) {
        (None, Some(kept)) => kept.secret,
        (secret, _) => {
            let secret = SecretString::from(secret.unwrap_or_default());
            api.keys.seal_channel(at.project.id, id, &secret).await?
        }
    };
    let channel = StoredChannel {
        id,
        project: at.project.id,
        name: name.clone(),
        spec: request.spec,
        secret,
        target,
        updated_at: api.clock.now(),
        due_at: None,
        last_error: None,
        delivered_at: None,
    };
    api.store.set_channel(channel).await?;
    api.audit(&at, "channel.set", &name).await?;
    let channel = api.store.channel(at.project.id, &name).await?;
    channel.map(view).map(Json).ok_or_else(|| Problem::not_found("channel"))
}

/// Sends a message that says it is a test, at once, whatever the hour. Answers when it was delivered.
#[utoipa::path(post, path = "/channels/{name}/test", operation_id = "testChannel", tag = "monitoring",
    params(("name" = String, Path)), responses((status = 204, description = "Delivered"),
    (status = 502, body = Problem, description = "Not delivered, and why"), (status = "default", body = Problem)))]
pub(super) async fn test(State(api): State<Api>, at: InProject, Part(name): Part<Name>) -> Result<StatusCode, Problem> {
    at.require(Scope::Write)?;
    at.require_whole_project()?;
    let channel = api.store.channel(at.project.id, &name).await?.ok_or_else(|| Problem::not_found("channel"))?;
    api.sender.test(&at.project, &channel).await.map_err(Problem::not_delivered)?;
    Ok(StatusCode::NO_CONTENT)
}

/// Removes a channel, and what was not sent yet.
#[utoipa::path(delete, path = "/channels/{name}", operation_id = "removeChannel", tag = "monitoring",
    params(("name" = String, Path)), responses((status = 204, description = "Removed"),
    (status = "default", body = Problem)))]
pub(super) async fn remove(
    State(api): State<Api>,
    at: InProject,
    Part(name): Part<Name>,
) -> Result<StatusCode, Problem> {
    at.require(Scope::Write)?;
    at.require_whole_project()?;
    if !api.store.remove_channel(at.project.id, &name).await? {
        return Err(Problem::not_found("channel"));
    }
    api.audit(&at, "channel.remove", &name).await?;
    Ok(StatusCode::NO_CONTENT)
}
