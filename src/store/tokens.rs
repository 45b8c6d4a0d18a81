//! Tokens, by the hash of their secret.

use super::{
    Store, StoreError,
    session::{Row, json_text, values},
};
use crate::domain::{ProjectId, Timestamp, Token, TokenId};

macro_rules! token_columns {
    () => {
        "SELECT id, project_id, name, scopes, jobs, created_at, expires_at, revoked_at FROM tokens"
    };
}

pub(super) use token_columns;

pub(super) fn token_from(row: &Row) -> Result<Token, StoreError> {
    Ok(Token {
        id: TokenId(row.get("id")?),
        name: row.word("name", |text| text.parse().ok())?,
        project: row.get::<Option<uuid::Uuid>>("project_id")?.map(ProjectId),
        scopes: row.json("scopes")?,
        jobs: row.json("jobs")?,
        created_at: row.time("created_at")?,
        expires_at: row.time_opt("expires_at")?,
        revoked_at: row.time_opt("revoked_at")?,
    })
}

impl Store {
    /// Stores a token by its hash. One with the same hash stays as it is.
    ///
    /// # Errors
    /// The database failed.
    pub async fn create_token(&self, token: &Token, hash: Vec<u8>) -> Result<(), StoreError> {
        let (token, scopes, jobs) = (token.clone(), json_text(&token.scopes)?, json_text(&token.jobs)?);
        self.write(move |session| {
            let (token, hash, scopes, jobs) = (token.clone(), hash.clone(), scopes.clone(), jobs.clone());
            Box::pin(async move {
                let sql = "INSERT INTO tokens (id, project_id, name, hash, scopes, jobs, created_at, expires_at) \
                           VALUES ($1, $2, $3, $4, $5, $6, $7, $8) ON CONFLICT (hash) DO NOTHING";
                let name = token.name.as_str();
                let values =
                    values![token.id, token.project, name, hash, scopes, jobs, token.created_at, token.expires_at];
                session.execute(sql, values).await.map(|_| ())
            })
        })
        .await
    }

    /// The token with this hash.
    ///
    /// # Errors
    /// The database failed.
    pub async fn token_by_hash(&self, hash: &[u8]) -> Result<Option<Token>, StoreError> {
        const SQL: &str = concat!(token_columns!(), " WHERE hash = $1");
        self.read().await?.first(SQL, values![hash]).await?.as_ref().map(token_from).transpose()
    }

    /// Tokens of a project, or those of the whole installation, the newest first, those made before `before`.
    ///
    /// # Errors
    /// The database failed.
    pub async fn tokens(
        &self,
        project: Option<ProjectId>,
        before: Option<TokenId>,
        limit: u32,
    ) -> Result<Vec<Token>, StoreError> {
        const OF_PROJECT: &str =
            concat!(token_columns!(), " WHERE project_id = $1 AND id < $2 ORDER BY id DESC LIMIT $3");
        const OF_ALL: &str =
            concat!(token_columns!(), " WHERE project_id IS NULL AND id < $1 ORDER BY id DESC LIMIT $2");
        let before = before.unwrap_or(TokenId(uuid::Uuid::max()));
        let mut session = self.read().await?;
        let rows = match project {
            Some(project) => session.all(OF_PROJECT, values![project, before, limit]).await?,
            None => session.all(OF_ALL, values![before, limit]).await?,
        };
        rows.iter().map(token_from).collect()
    }

    /// Revokes a token of a project (`None`: of the installation); `false` when there is none.
    ///
    /// # Errors
    /// The database failed.
    pub async fn revoke_token(
        &self,
        project: Option<ProjectId>,
        id: TokenId,
        now: Timestamp,
    ) -> Result<bool, StoreError> {
        self.write(move |session| {
            Box::pin(async move {
                let changed = match project {
                    Some(project) => {
                        let sql = "UPDATE tokens SET revoked_at = COALESCE(revoked_at, $1) \
                                   WHERE id = $2 AND project_id = $3";
                        session.execute(sql, values![now, id, project]).await?
                    }
                    None => {
                        let sql = "UPDATE tokens SET revoked_at = COALESCE(revoked_at, $1) \
                                   WHERE id = $2 AND project_id IS NULL";
                        session.execute(sql, values![now, id]).await?
                    }
                };
                Ok(changed == 1)
            })
        })
        .await
    }

    /// Whether any token was ever made.
    ///
    /// # Errors
    /// The database failed.
    pub async fn has_tokens(&self) -> Result<bool, StoreError> {
        Ok(self.read().await?.count("SELECT COUNT(*) AS n FROM tokens", Vec::new()).await? > 0)
    }
}
