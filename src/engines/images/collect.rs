//! What is taken away when the store grows beyond its bound: names unused for longest, and what only they needed.

use std::{
    collections::{HashMap, HashSet},
    fs::{self, File},
    io,
    path::{Path, PathBuf},
    time::SystemTime,
};

use super::{Image, ImageStore, Named, read_json};

impl ImageStore {
    /// All names, sorted. Blocks.
    ///
    /// # Errors
    /// The store cannot be read.
    pub fn list(&self) -> io::Result<Vec<Named>> {
        let mut names: Vec<_> = self.names()?.into_iter().map(|(_, _, named)| named).collect();
        names.sort_by(|a, b| a.name.cmp(&b.name));
        Ok(names)
    }

    /// Forgets a name, and takes away what nothing else needs; `false`: there is no such name. Blocks.
    ///
    /// # Errors
    /// The store cannot be changed.
    pub fn forget(&self, name: &str) -> io::Result<bool> {
        match fs::remove_file(self.name_path(name)) {
            Ok(()) => {}
            Err(error) if error.kind() == io::ErrorKind::NotFound => return Ok(false),
            Err(error) => return Err(error),
        }
        self.collect_garbage();
        Ok(true)
    }

    /// Takes away what must go. When others are adding, it is left to the next time.
    pub(super) fn collect_garbage(&self) {
        if let Err(error) = self.collect() {
            tracing::warn!(%error, dir = %self.config.dir.display(), "the image store cannot be tidied up");
        }
    }

    fn collect(&self) -> io::Result<()> {
        let lock = File::open(self.config.dir.join("lock"))?;
        if lock.try_lock().is_err() {
            return Ok(());
        }
        let mut names = self.names()?;
        names.sort_by_key(|(_, used, _)| *used);
        let mut images = self.images()?;
        let mut names = names.into_iter().peekable();
        loop {
            let needed: HashSet<String> = names.clone().map(|(_, _, named)| named.id).collect();
            self.remove_unneeded(&mut images, &needed);
            let kept: HashMap<_, _> =
                images.iter().flat_map(|image| &image.layers).map(|layer| (&layer.diff_id, layer.bytes)).collect();
            // The last one used always stays.
            if kept.values().sum::<u64>() <= self.config.max_bytes || names.len() <= 1 {
                break;
            }
            if let Some((path, _, _)) = names.next() {
                fs::remove_file(path)?;
            }
        }
        let kept: HashSet<_> = images.iter().flat_map(|image| &image.layers).map(super::Layer::dir_name).collect();
        for entry in fs::read_dir(self.layers_dir())?.flatten() {
            if entry.file_name().to_str().is_none_or(|name| !kept.contains(name)) {
                self.discard(&entry.path())?;
            }
        }
        Ok(())
    }

    /// Removes the records that no name needs and nobody uses.
    fn remove_unneeded(&self, images: &mut Vec<Image>, needed: &HashSet<String>) {
        images.retain(|image| {
            if needed.contains(&image.id) {
                return true;
            }
            let path = self.image_path(&image.id);
            // Whoever uses it has locked it; whoever is about to, looks again after locking.
            let free = File::open(&path).is_ok_and(|file| file.try_lock().is_ok() && fs::remove_file(&path).is_ok());
            !free
        });
    }

    fn names(&self) -> io::Result<Vec<(PathBuf, SystemTime, Named)>> {
        let mut names = Vec::new();
        for entry in fs::read_dir(self.config.dir.join("names"))?.flatten() {
            if let (Ok(about), Ok(Some(named))) = (entry.metadata(), read_json(&entry.path())) {
                names.push((entry.path(), about.modified()?, named));
            }
        }
        Ok(names)
    }

    fn images(&self) -> io::Result<Vec<Image>> {
        let entries = fs::read_dir(self.config.dir.join("images"))?.flatten();
        Ok(entries.filter_map(|entry| read_json(&entry.path()).ok().flatten()).collect())
    }

    /// Out of the way at once, and then gone.
    fn discard(&self, path: &Path) -> io::Result<()> {
        let grave = tempfile::tempdir_in(self.config.dir.join("drafts"))?;
        fs::rename(path, grave.path().join("it"))?;
        self.config.helper.remove_tree(grave.path())
    }

    /// Removes what others left half done, unless they are still at it.
    pub(super) fn clear_drafts(&self) -> io::Result<()> {
        let lock = File::open(self.config.dir.join("lock"))?;
        if lock.try_lock().is_err() {
            return Ok(());
        }
        for entry in fs::read_dir(self.config.dir.join("drafts"))?.flatten() {
            let is_dir = entry.file_type().is_ok_and(|kind| kind.is_dir());
            let _ = if is_dir { self.config.helper.remove_tree(&entry.path()) } else { fs::remove_file(entry.path()) };
        }
        Ok(())
    }
}
