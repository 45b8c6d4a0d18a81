//! The store, filled from archives that are made here. Unpacking needs root and the program: it is this test itself
//! that is executed again, see `unpacks_when_told_to`.

use std::os::unix::fs::{FileTypeExt, MetadataExt};

use tar::{Builder, EntryType, Header};

use super::*;
use crate::engines::contract::skipped;

/// An archive of these entries: name, kind, content or target.
type Entries<'a> = &'a [(&'a str, EntryType, &'a [u8])];

fn layer(entries: Entries<'_>) -> Vec<u8> {
    let mut builder = Builder::new(Vec::new());
    for (name, kind, content) in entries {
        let mut header = Header::new_gnu();
        // Written as they are: `set_path` would refuse what a hostile archive has.
        header.as_old_mut().name[..name.len()].copy_from_slice(name.as_bytes());
        header.set_entry_type(*kind);
        header.set_mode(if kind.is_dir() { 0o755 } else { 0o640 });
        header.set_uid(0);
        header.set_gid(0);
        header.set_mtime(1_700_000_000);
        let links = matches!(kind, EntryType::Link | EntryType::Symlink);
        if links {
            header.as_old_mut().linkname[..content.len()].copy_from_slice(content);
        }
        let data: &[u8] = if links { &[] } else { content };
        header.set_size(data.len() as u64);
        header.set_cksum();
        builder.append(&header, data).unwrap();
    }
    builder.into_inner().unwrap()
}

fn sha256(bytes: &[u8]) -> String {
    format!("sha256:{}", hex(digest(&SHA256, bytes).as_ref()))
}

fn gzip(bytes: &[u8]) -> Vec<u8> {
    let mut encoder = flate2::write::GzEncoder::new(Vec::new(), flate2::Compression::fast());
    encoder.write_all(bytes).unwrap();
    encoder.finish().unwrap()
}

fn configuration(layers: &[Vec<u8>]) -> Vec<u8> {
    let ids: Vec<_> = layers.iter().map(|layer| sha256(layer)).collect();
    serde_json::to_vec(&serde_json::json!({"os": "linux", "config": {"Cmd": ["/a"]}, "rootfs": {"diff_ids": ids}}))
        .unwrap()
}

/// As `docker save` writes it.
fn docker_archive(layers: &[Vec<u8>]) -> Vec<u8> {
    let names: Vec<_> = (0..layers.len()).map(|number| format!("{number}/layer.tar")).collect();
    let manifest = serde_json::to_vec(&serde_json::json!([{"Config": "c.json", "Layers": names}])).unwrap();
    let config = configuration(layers);
    let mut entries: Vec<(&str, EntryType, &[u8])> =
        vec![("manifest.json", EntryType::Regular, &manifest), ("c.json", EntryType::Regular, &config)];
    entries.extend(names.iter().zip(layers).map(|(name, layer)| (name.as_str(), EntryType::Regular, layer.as_slice())));
    layer(&entries)
}

/// The blobs of an OCI layout, compressed as they are given, and its index.
fn oci_files(layers: &[Vec<u8>], compressed: &[Vec<u8>]) -> Vec<(String, Vec<u8>)> {
    let config = configuration(layers);
    let descriptor = |bytes: &[u8]| serde_json::json!({"digest": sha256(bytes), "size": bytes.len()});
    let blobs: Vec<_> = compressed.iter().map(|layer| descriptor(layer)).collect();
    let manifest = serde_json::to_vec(&serde_json::json!({"config": descriptor(&config), "layers": blobs})).unwrap();
    let index = serde_json::to_vec(&serde_json::json!({"manifests": [descriptor(&manifest)]})).unwrap();
    let blob = |bytes: &[u8]| (format!("blobs/sha256/{}", &sha256(bytes)[7..]), bytes.to_vec());
    let mut files = vec![("index.json".to_owned(), index), blob(&config), blob(&manifest)];
    files.extend(compressed.iter().map(|layer| blob(layer)));
    files
}

struct Fixture {
    dir: tempfile::TempDir,
    store: ImageStore,
}

impl Fixture {
    /// `None`, told visibly, without root.
    fn new(case: &str, max_bytes: u64) -> Option<Self> {
        if !rustix::process::geteuid().is_root() {
            skipped(case, "unpacking a layer needs root");
            return None;
        }
        let dir = tempfile::tempdir().unwrap();
        // This test binary, told by a variable of no account to be the unpacking child.
        let program = dir.path().join("program");
        let this = std::env::current_exe().unwrap();
        let script = format!(
            "#!/bin/sh\nHAULIER_TEST_UNPACK=\"$2\" HAULIER_TEST_MAX=\"$3\" {} --exact {} --nocapture -q | tail -n 1\n",
            this.display(),
            "engines::images::tests::unpacks_when_told_to"
        );
        fs::write(&program, script).unwrap();
        fs::set_permissions(&program, std::os::unix::fs::PermissionsExt::from_mode(0o755)).unwrap();
        let config = ImageStoreConfig {
            dir: dir.path().join("images"),
            helper: Helper::new(program),
            archives: None,
            max_bytes,
            pull_timeout: Duration::from_secs(60),
        };
        Some(Self { store: ImageStore::open(config).unwrap(), dir })
    }

    fn import(&self, archive: &[u8], name: &str) -> Result<Image, EngineError> {
        let path = self.dir.path().join("archive.tar");
        fs::write(&path, archive).unwrap();
        self.store.import(&path, name)
    }

    /// The files of the layer that these entries make.
    fn unpacked(&self, entries: Entries<'_>) -> Result<PathBuf, EngineError> {
        let image = self.import(&docker_archive(&[layer(entries)]), "a")?;
        Ok(self.store.layers_dir().join(image.layers[0].dir_name()).join(FILES))
    }
}

/// Not a test by itself: the process that the store starts.
#[test]
fn unpacks_when_told_to() {
    let Some(dir) = std::env::var_os("HAULIER_TEST_UNPACK") else { return };
    let max_bytes = std::env::var("HAULIER_TEST_MAX").unwrap().parse().unwrap();
    unpack::main(Path::new(&dir), max_bytes);
    std::process::exit(0);
}

#[test]
fn files_come_out_as_they_went_in() {
    let Some(fixture) = Fixture::new("files_come_out_as_they_went_in", 1 << 30) else { return };
    let files = fixture
        .unpacked(&[
            ("bin/", EntryType::Directory, b""),
            ("bin/a", EntryType::Regular, b"hello"),
            ("bin/b", EntryType::Link, b"bin/a"),
            ("bin/c", EntryType::Symlink, b"/bin/a"),
            ("pipe", EntryType::Fifo, b""),
            ("disk", EntryType::Block, b""),
            ("deep/er/d", EntryType::Regular, b"twice"),
            ("deep/er/d", EntryType::Regular, b"again"),
        ])
        .unwrap();
    assert_eq!(fs::read(files.join("bin/b")).unwrap(), b"hello");
    assert_eq!(fs::metadata(files.join("bin/a")).unwrap().mode() & 0o7777, 0o640);
    assert_eq!(fs::metadata(files.join("bin/a")).unwrap().nlink(), 2);
    assert_eq!(fs::read_link(files.join("bin/c")).unwrap(), Path::new("/bin/a"));
    assert!(fs::metadata(files.join("pipe")).unwrap().file_type().is_fifo());
    assert!(!files.join("disk").exists(), "devices come from the engine");
    assert_eq!(fs::read(files.join("deep/er/d")).unwrap(), b"again");
}

#[test]
fn whiteouts_become_those_of_overlayfs() {
    let Some(fixture) = Fixture::new("whiteouts_become_those_of_overlayfs", 1 << 30) else { return };
    let files = fixture
        .unpacked(&[
            ("etc/.wh.gone", EntryType::Regular, b""),
            ("var/.wh..wh..opq", EntryType::Regular, b""),
            (".wh..wh.plnk", EntryType::Regular, b""),
            (".wh...", EntryType::Regular, b""),
        ])
        .unwrap();
    let mark = fs::symlink_metadata(files.join("etc/gone")).unwrap();
    assert!(mark.file_type().is_char_device() && mark.rdev() == 0);
    let mut value = [0; 8];
    let length = rustix::fs::getxattr(files.join("var"), "trusted.overlay.opaque", &mut value).unwrap();
    assert_eq!(&value[..length], b"y");
    assert!(files.parent().unwrap().join(FILES).exists());
}

#[test]
fn nothing_gets_out_of_a_layer() {
    let Some(fixture) = Fixture::new("nothing_gets_out_of_a_layer", 1 << 30) else { return };
    let outside = tempfile::tempdir().unwrap();
    fs::write(outside.path().join("secret"), "untouched").unwrap();
    let target = outside.path().to_str().unwrap();
    let through = format!("{target}/secret");
    let climbs = format!("x/{}{target}/evil", "../".repeat(10));
    let attempts: &[Entries<'_>] = &[
        &[(&climbs, EntryType::Regular, b"evil")],
        &[("out", EntryType::Symlink, target.as_bytes()), ("out/evil", EntryType::Regular, b"evil")],
        &[("out", EntryType::Symlink, target.as_bytes()), ("out/.wh.secret", EntryType::Regular, b"")],
        &[("up", EntryType::Symlink, b"../../../../../../../../../.."), ("up/evil", EntryType::Regular, b"evil")],
        &[("taken", EntryType::Link, through.as_bytes()), ("taken", EntryType::Regular, b"evil")],
        &[(&through, EntryType::Regular, b"evil")],
    ];
    for (number, attempt) in attempts.iter().enumerate() {
        // Refused, or harmless: both will do.
        let _ = fixture.unpacked(attempt);
        assert_eq!(fs::read(outside.path().join("secret")).unwrap(), b"untouched", "attempt {number}");
        assert_eq!(fs::read_dir(outside.path()).unwrap().count(), 1, "attempt {number}");
    }
    let error = fixture.unpacked(&[("a/../../b", EntryType::Regular, b"")]).unwrap_err();
    assert_eq!((error.kind, error.persistence), (EngineErrorKind::ImageInvalid, Persistence::Permanent), "{error}");
}

#[test]
fn a_layer_that_is_too_large_or_not_what_it_must_be_is_refused() {
    let Some(fixture) = Fixture::new("a_layer_that_is_too_large", 100_000) else { return };
    let error = fixture.unpacked(&[("big", EntryType::Regular, &[0; 200_000])]).unwrap_err();
    assert!(error.detail.contains("image_store_mb"), "{error}");
    // Behind the configuration's back, another layer.
    let (told, given) = (layer(&[("a", EntryType::Regular, b"1")]), layer(&[("a", EntryType::Regular, b"2")]));
    let mut archive = docker_archive(std::slice::from_ref(&told));
    let at = archive.windows(told.len()).position(|window| window == told).unwrap();
    archive[at..at + given.len()].copy_from_slice(&given);
    let error = fixture.import(&archive, "a").unwrap_err();
    assert!(error.kind == EngineErrorKind::ImageInvalid && error.detail.contains("digest"), "{error}");
    assert_eq!(fixture.store.list().unwrap(), []);
    assert_eq!(fs::read_dir(fixture.store.layers_dir()).unwrap().count(), 0);
    assert_eq!(fs::read_dir(fixture.store.config.dir.join("drafts")).unwrap().count(), 0, "nothing half done is left");
}

#[test]
fn oci_archives_and_layouts_are_read_in_every_compression() {
    let Some(fixture) = Fixture::new("oci_archives_and_layouts", 1 << 30) else { return };
    let layers = [
        layer(&[("a", EntryType::Regular, b"plain")]),
        layer(&[("b", EntryType::Regular, b"gzip")]),
        layer(&[("c", EntryType::Regular, b"zstd")]),
    ];
    let compressed = [layers[0].clone(), gzip(&layers[1]), zstd::encode_all(layers[2].as_slice(), 1).unwrap()];
    let files = oci_files(&layers, &compressed);
    let layout = fixture.dir.path().join("layout");
    for (name, content) in &files {
        fs::create_dir_all(layout.join(name).parent().unwrap()).unwrap();
        fs::write(layout.join(name), content).unwrap();
    }
    let from_dir = fixture.store.import(&layout, "dir").unwrap();
    let entries: Vec<_> =
        files.iter().map(|(name, content)| (name.as_str(), EntryType::Regular, content.as_slice())).collect();
    let from_file = fixture.import(&layer(&entries), "file:1").unwrap();
    assert_eq!(from_dir, from_file);
    assert_eq!((from_dir.layers.len(), from_dir.config.cmd), (3, vec!["/a".to_owned()]));
    let names: Vec<_> = fixture.store.list().unwrap().into_iter().map(|named| named.name).collect();
    assert_eq!(names, ["docker.io/library/dir:latest", "docker.io/library/file:1"]);
    // A configuration that is not what the manifest says.
    fs::write(layout.join(&files[1].0), b"{}").unwrap();
    assert_eq!(fixture.store.import(&layout, "bad").unwrap_err().kind, EngineErrorKind::ImageInvalid);
}

#[test]
fn the_longest_unused_goes_first_and_what_is_in_use_stays() {
    // Room for two layers of one small file each.
    let Some(fixture) = Fixture::new("the_longest_unused_goes_first", 3 * 4096) else { return };
    let full = |name: &str| format!("docker.io/library/{name}:latest");
    let import = |name: &str| {
        fixture.import(&docker_archive(&[layer(&[(name, EntryType::Regular, b"x")])]), name).unwrap();
    };
    let stored = || {
        let names = fixture.store.list().unwrap();
        names.iter().map(|it| it.name.trim_start_matches("docker.io/library/")[..1].to_owned()).collect::<String>()
    };
    let layers = || fs::read_dir(fixture.store.layers_dir()).unwrap().count();
    import("a");
    import("b");
    assert_eq!((stored().as_str(), layers()), ("ab", 2));
    // Used later than `b` was; then `b` is the oldest.
    let lease = fixture.store.lookup(&full("a")).unwrap().unwrap();
    import("c");
    assert_eq!((stored().as_str(), layers()), ("ac", 2));
    // Its name goes, its files stay, for someone runs it.
    assert!(fixture.store.forget(&full("a")).unwrap());
    assert_eq!((stored().as_str(), layers()), ("c", 2));
    drop(lease);
    fixture.store.collect_garbage();
    assert_eq!(layers(), 1);
    assert!(!fixture.store.forget(&full("a")).unwrap());
}

#[tokio::test]
async fn archives_are_read_where_it_is_allowed_and_nowhere_else() {
    let Some(mut fixture) = Fixture::new("archives_are_read_where_it_is_allowed", 1 << 30) else { return };
    let archive = docker_archive(&[layer(&[("a", EntryType::Regular, b"1")])]);
    let allowed = fixture.dir.path().join("allowed");
    fs::create_dir(&allowed).unwrap();
    fs::write(allowed.join("a.tar"), &archive).unwrap();
    fs::write(fixture.dir.path().join("other.tar"), &archive).unwrap();
    std::os::unix::fs::symlink("../other.tar", allowed.join("link.tar")).unwrap();
    let reference = |name: &str| format!("docker-archive:{}/{name}", allowed.display());
    let progress = LaunchProgress::new().0;
    for (archives, name, expected) in [
        (None, "a.tar", Err(EngineErrorKind::ImageInvalid)),
        (Some(&allowed), "a.tar", Ok(())),
        (Some(&allowed), "../other.tar", Err(EngineErrorKind::ImageInvalid)),
        (Some(&allowed), "link.tar", Err(EngineErrorKind::ImageInvalid)),
        (Some(&allowed), "none.tar", Err(EngineErrorKind::ImageNotFound)),
    ] {
        let config = ImageStoreConfig { archives: archives.cloned(), ..fixture.store.config.clone() };
        fixture.store = ImageStore::open(config).unwrap();
        let store = Arc::new(ImageStore::open(fixture.store.config.clone()).unwrap());
        let found = store.ensure(&reference(name), PullPolicy::Always, None, &progress).await;
        assert_eq!(found.map(drop).map_err(|error| error.kind), expected, "{name}");
    }
}
