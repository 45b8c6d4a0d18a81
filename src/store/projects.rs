//! Projects and their sealed data keys.

use super::{
    Store, StoreError,
    session::{Row, json_text, values},
};
use crate::domain::{ImagePattern, Name, Project, ProjectId};

fn project_from(row: &Row) -> Result<Project, StoreError> {
    Ok(Project {
        id: ProjectId(row.get("id")?),
        name: row.word("name", |text| text.parse().ok())?,
        images: row.json("images")?,
        created_at: row.time("created_at")?,
    })
}

impl Store {
    /// Makes a project; `false` when there is one of this name.
    ///
    /// # Errors
    /// The database failed.
    pub async fn create_project(&self, project: &Project, data_key: Vec<u8>) -> Result<bool, StoreError> {
        let (id, name, images, at) =
            (project.id, project.name.to_string(), json_text(&project.images)?, project.created_at);
        self.write(move |session| {
            let (name, images, data_key) = (name.clone(), images.clone(), data_key.clone());
            Box::pin(async move {
                let sql = "INSERT INTO projects (id, name, images, data_key, created_at) VALUES ($1, $2, $3, $4, $5) \
                           ON CONFLICT (name) DO NOTHING";
                Ok(session.execute(sql, values![id, name, images, data_key, at]).await? == 1)
            })
        })
        .await
    }

    /// Every project with its sealed data key, by name.
    ///
    /// # Errors
    /// The database failed.
    pub async fn projects(&self) -> Result<Vec<(Project, Vec<u8>)>, StoreError> {
        let sql = "SELECT id, name, images, data_key, created_at FROM projects ORDER BY name LIMIT 10000";
        let rows = self.read().await?.all(sql, Vec::new()).await?;
        rows.iter().map(|row| Ok((project_from(row)?, row.get("data_key")?))).collect()
    }

    /// A project by its name, with its sealed data key.
    ///
    /// # Errors
    /// The database failed.
    pub async fn project(&self, name: &Name) -> Result<Option<(Project, Vec<u8>)>, StoreError> {
        let sql = "SELECT id, name, images, data_key, created_at FROM projects WHERE name = $1";
        let row = self.read().await?.first(sql, values![name.as_str()]).await?;
        row.map(|row| Ok((project_from(&row)?, row.get("data_key")?))).transpose()
    }

    /// A project by its id, with its sealed data key.
    ///
    /// # Errors
    /// The database failed.
    pub async fn project_by_id(&self, id: ProjectId) -> Result<Option<(Project, Vec<u8>)>, StoreError> {
        let sql = "SELECT id, name, images, data_key, created_at FROM projects WHERE id = $1";
        let row = self.read().await?.first(sql, values![id]).await?;
        row.map(|row| Ok((project_from(&row)?, row.get("data_key")?))).transpose()
    }

    /// Sets which images a project's jobs may use.
    ///
    /// # Errors
    /// The database failed.
    pub async fn set_images(&self, id: ProjectId, images: &[ImagePattern]) -> Result<(), StoreError> {
        let images = json_text(&images)?;
        self.write(move |session| {
            let images = images.clone();
            Box::pin(async move {
                let sql = "UPDATE projects SET images = $1 WHERE id = $2";
                session.execute(sql, values![images, id]).await.map(|_| ())
            })
        })
        .await
    }

    /// Replaces a project's sealed data key by the same key sealed anew; `false` when another has been stored since.
    ///
    /// # Errors
    /// The database failed.
    pub async fn replace_data_key(&self, id: ProjectId, old: Vec<u8>, new: Vec<u8>) -> Result<bool, StoreError> {
        self.write(move |session| {
            let (old, new) = (old.clone(), new.clone());
            Box::pin(async move {
                let sql = "UPDATE projects SET data_key = $1 WHERE id = $2 AND data_key = $3";
                Ok(session.execute(sql, values![new, id, old]).await? == 1)
            })
        })
        .await
    }
}
