use clap::{Args as _, FromArgMatches as _};
use secrecy::ExposeSecret;

use super::*;

/// Loads with this file, environment and flags.
fn load_with(file: Option<&str>, env: &[(&str, &str)], args: ServeArgs) -> Result<Config, ConfigError> {
    let dir = tempfile::tempdir().unwrap();
    let path = dir.path().join("haulier.toml");
    let config = file.map(|text| {
        std::fs::write(&path, text).unwrap();
        path.clone()
    });
    let home = [("HOME", "/home/anna")];
    let env = home.iter().chain(env).map(|(name, value)| ((*name).to_owned(), (*value).to_owned())).collect();
    Config::load(&ServeArgs { config, ..args }, &Surroundings { env, root: false })
}

fn load(file: &str, env: &[(&str, &str)]) -> Result<Config, ConfigError> {
    load_with(Some(file), env, ServeArgs::default())
}

fn problem(file: &str, env: &[(&str, &str)]) -> String {
    load(file, env).unwrap_err().to_string()
}

#[test]
fn nothing_need_be_given() {
    let config = load_with(None, &[], ServeArgs::default()).unwrap();
    assert_eq!(config.server.listen.to_string(), "127.0.0.1:8080");
    assert_eq!(config.server.max_body_bytes, 1024 * 1024);
    assert_eq!(config.storage.data_dir.to_str(), Some("/home/anna/.local/share/haulier"));
    assert_eq!(config.storage.database_url.expose_secret(), "sqlite:///home/anna/.local/share/haulier/haulier.db");
    assert!(
        matches!(config.secrets.master_key, MasterKeySource::Default(path) if path.ends_with("haulier/master.key"))
    );
    assert_eq!(config.engines.default.as_str(), "docker");
    assert_eq!(config.engines.all[&config.engines.default].kind, EngineKind::Docker);
}

#[test]
#[cfg(target_os = "linux")]
fn root_needs_no_daemon() {
    let root = Surroundings { root: true, ..Surroundings::default() };
    let engines = Config::load(&ServeArgs::default(), &root).unwrap().engines;
    assert_eq!(engines.default.as_str(), "embedded");
    assert_eq!(engines.all[&engines.default].kind, EngineKind::Embedded);
}

#[test]
fn data_goes_where_the_system_wants_it() {
    let config = load("", &[("XDG_DATA_HOME", "/data")]).unwrap();
    assert_eq!(config.storage.data_dir.to_str(), Some("/data/haulier"));
    let config = load("", &[("XDG_DATA_HOME", "relative")]).unwrap();
    assert_eq!(config.storage.data_dir.to_str(), Some("/home/anna/.local/share/haulier"));
    let root = Surroundings { root: true, ..Surroundings::default() };
    let config = Config::load(&ServeArgs::default(), &root).unwrap();
    assert_eq!(config.storage.data_dir.to_str(), Some("/var/lib/haulier"));
    assert!(Config::load(&ServeArgs::default(), &Surroundings::default()).is_err(), "no home at all");
}

#[test]
fn a_higher_layer_wins() {
    let file = r#"
        listen = "127.0.0.1:1"
        log_format = "text"
        public_url = "https://file.example.com/"
        database_url = "sqlite::memory:"
    "#;
    let config = load(file, &[]).unwrap();
    assert_eq!(config.server.listen.port(), 1);
    assert_eq!(config.server.public_url.as_deref(), Some("https://file.example.com"));
    assert_eq!(config.storage.database_url.expose_secret(), "sqlite::memory:");

    let env = [
        ("HAULIER_LOG_FORMAT", "json"),
        ("HAULIER_PUBLIC_URL", "https://env.example.com/haulier/"),
        ("HAULIER_DATABASE_URL", "postgres://u:p@h/d"),
    ];
    let args = ServeArgs { listen: Some("[::]:2".into()), data_dir: Some("/flag".into()), config: None };
    let config = load_with(Some(file), &env, args).unwrap();
    assert_eq!(config.server.listen.port(), 2);
    assert_eq!(config.server.log_format, LogFormat::Json);
    assert_eq!(config.server.public_url.as_deref(), Some("https://env.example.com/haulier"));
    assert_eq!(config.storage.database_url.expose_secret(), "postgres://u:p@h/d");

    let blank = load(file, &[("HAULIER_LOG_FORMAT", ""), ("HAULIER_DATABASE_URL", " ")]).unwrap();
    assert_eq!(blank.storage.database_url.expose_secret(), "sqlite::memory:", "a blank variable counts as none");
}

#[test]
fn logs_lie_where_they_are_told_to() {
    assert_eq!(load("", &[]).unwrap().logs.dir, None);
    let file = "logs.dir = \"/mnt/logs\"";
    assert_eq!(load(file, &[]).unwrap().logs.dir.unwrap().to_str(), Some("/mnt/logs"));
    let in_env = load(file, &[("HAULIER_LOGS_DIR", "/env/logs")]).unwrap();
    assert_eq!(in_env.logs.dir.unwrap().to_str(), Some("/env/logs"));
}

#[test]
fn logs_may_lie_in_an_object_store() {
    assert!(load("", &[]).unwrap().logs.store.is_none());
    let file = "logs.store = 's3://logs/haulier'\n[logs.store_options]\nregion = 'eu-central-1'\nallow_http = true\n\
                connect_timeout = '3 seconds'\nsecret_access_key = 'hunter2'";
    let around = [("AWS_ACCESS_KEY_ID", "hunter3"), ("AWS_PAGER", ""), ("AWS_OF_OTHERS", "x")];
    let store = load(file, &around).unwrap().logs.store.unwrap();
    assert_eq!(format!("{store:?}"), r#"ObjectSettings("s3://logs/haulier")"#);
    let store = load(file, &[("HAULIER_LOGS_STORE", "gs://logs")]).unwrap_err().to_string();
    assert!(store.contains("logs.store_options.") && store.contains("GOOGLE_"), "the options are S3's: {store}");
    for (file, part) in [
        ("logs.store = '/var/logs'", "s3://bucket/prefix"),
        ("logs.store = 's3://id:hunter2@logs'", "without credentials"),
        ("logs.store = 's3://logs'\n[logs.store_options]\nregoin = 'hunter2'", "logs.store_options.regoin"),
        ("[logs.store_options]\nregion = 'hunter2'", "give logs.store as well"),
    ] {
        let problem = problem(file, &[]);
        assert!(problem.contains(part) && !problem.contains("hunter2"), "{problem}");
    }
}

#[test]
fn engines_keep_their_own_settings() {
    let file = r#"
        default_engine = "local"
        [engines.local]
        kind = "docker"
        host = "unix:///run/docker.sock"
        [engines.pretend]
        kind = "simulated"
    "#;
    let engines = load(file, &[]).unwrap().engines;
    assert_eq!(engines.default.as_str(), "local");
    assert_eq!(engines.all.len(), 2);
    let local = &engines.all[&engines.default];
    assert_eq!(local.settings["host"].as_str(), Some("unix:///run/docker.sock"));
    assert!(!local.settings.contains_key("kind"));
}

#[test]
fn what_is_wrong_is_named_with_its_source() {
    for (file, env, parts) in [
        ("\n\nlistne = 1", None, &["haulier.toml, line 3", "listne"][..]),
        ("[logs]\nretention = 1", None, &["line 2", "retention"]),
        ("listen = ", None, &["line 1"]),
        ("listen = 'here'", None, &["setting listen", "haulier.toml", "127.0.0.1:8080"]),
        ("log_format = 'xml'", None, &["line 1", "xml"]),
        ("max_body_bytes = 1", None, &["max_body_bytes", "haulier.toml"]),
        ("[logs]\nmax_bytes_per_run = 0", None, &["logs.max_bytes_per_run"]),
        ("[engines.a]\nkind = 'lxd'", None, &["line 2", "lxd"]),
        ("[engines.A]\nkind = 'docker'", None, &["line 1", "a-z"]),
        ("[dashboard.oidc]\nclient_id = 'h'", None, &["line 1", "issuer"]),
        ("[dashboard]\noidcs = 1", None, &["line 2", "oidcs"]),
        ("default_engine = 'b'\n[engines.a]\nkind = 'docker'", None, &["default_engine", "no engine b", "a"]),
        ("[engines.a]\nkind = 'docker'\n[engines.b]\nkind = 'docker'", None, &["default_engine", "several"]),
        ("", Some(("HAULIER_LOG_FORMAT", "xml")), &["log_format", "HAULIER_LOG_FORMAT", "xml"]),
        ("", Some(("HAULIER_PUBLIC_URL", "haulier.example.com")), &["public_url", "HAULIER_PUBLIC_URL"]),
        ("", Some(("HAULIER_DATABASE_URL", "mysql://u:hunter2@h/d")), &["database_url", "HAULIER_DATABASE_URL"]),
        ("", Some(("HAULIER_MASTER_KEY", "hunter2")), &["master_key", "HAULIER_MASTER_KEY", "openssl"]),
        ("", Some(("HAULIER_ADMIN_TOKEN", "hunter2")), &["admin_token", "HAULIER_ADMIN_TOKEN", "16"]),
    ] {
        let problem = problem(file, &env.into_iter().collect::<Vec<_>>());
        assert!(parts.iter().all(|part| problem.contains(part)), "{problem}");
        assert!(!problem.contains("hunter2"), "{problem}");
    }
}

/// A working `[dashboard.oidc]`, to be changed.
const OIDC: &str = "[dashboard.oidc]\nissuer = 'https://id.example.com/tenant/'\nclient_id = 'haulier'\n";
const GRANT: &str = "[[dashboard.oidc.grants]]\nclaim = 'groups'\nvalue = 'data-team'\nscopes = ['read', 'trigger']\n";

#[test]
fn people_sign_in_where_it_is_said() {
    assert!(load("", &[]).unwrap().dashboard.oidc.is_none());
    let admins =
        "[[dashboard.oidc.grants]]\nclaim = '/realm_access/roles'\nvalue = 'ops'\ninstance = true\nscopes = ['admin']";
    let file = format!("{OIDC}client_secret = 'hunter2'\n{GRANT}project = 'sales'\n{admins}");
    let oidc = load(&file, &[]).unwrap().dashboard.oidc.unwrap();
    assert_eq!((oidc.name.as_str(), oidc.issuer.as_str()), ("single sign-on", "https://id.example.com/tenant/"));
    assert_eq!(oidc.session.as_secs(), 12 * 3600);
    assert_eq!(oidc.scopes, ["profile", "email"]);
    assert_eq!(oidc.client_secret.unwrap().expose_secret(), "hunter2");
    let access: Vec<_> = oidc.grants.iter().map(|grant| (grant.claim.as_str(), grant.access.project.clone())).collect();
    assert_eq!(access, [("groups", Some("sales".parse().unwrap())), ("/realm_access/roles", None)]);

    let oidc = load(&file, &[("HAULIER_OIDC_CLIENT_SECRET", "of the environment")]).unwrap().dashboard.oidc.unwrap();
    assert_eq!(oidc.client_secret.unwrap().expose_secret(), "of the environment");
    let dir = tempfile::tempdir().unwrap();
    let path = dir.path().join("secret");
    std::fs::write(&path, "of a file\n").unwrap();
    let file = format!("{OIDC}client_secret_file = '{}'\n{GRANT}project = 'sales'", path.display());
    let oidc = load(&file, &[]).unwrap().dashboard.oidc.unwrap();
    assert_eq!(oidc.client_secret.unwrap().expose_secret(), "of a file");
}

#[test]
fn the_history_is_kept_for_a_while() {
    let days = |days: u64| Some(std::time::Duration::from_secs(days * 86_400));
    let limits = |file: &str| load(file, &[]).unwrap().history.limits;
    let kept = limits("");
    assert_eq!((kept.runs, kept.audit), (days(400), days(400)));
    let kept = limits("[history]\nkeep_days = 7\nkeep_audit_days = 3650");
    assert_eq!((kept.runs, kept.audit), (days(7), days(3650)));
    let kept = limits("[history]\nkeep_days = 0");
    assert_eq!((kept.runs, kept.audit), (None, days(400)));
    let kept = limits("[history]\nkeep_audit_days = 0");
    assert_eq!((kept.runs, kept.audit), (days(400), None));
    for (setting, part) in [
        ("keep_days = 6", "history.keep_days"),
        ("keep_days = 3651", "7 to 3650 days, or 0"),
        ("keep_days = -1", "line 2"),
        ("keep_audit_days = 29", "history.keep_audit_days"),
        ("keep_audit_days = 3651", "30 to 3650 days, or 0"),
        ("days = 7", "days"),
    ] {
        let problem = problem(&format!("[history]\n{setting}"), &[]);
        assert!(problem.contains(part), "{problem}");
    }
}

#[test]
fn settings_that_let_the_wrong_people_in_are_refused() {
    let (grant, project) = (GRANT, "project = 'sales'");
    let other = |issuer: &str| OIDC.replace("https://id.example.com/tenant/", issuer);
    for (file, part) in [
        (OIDC.to_owned(), "nobody gets in without one"),
        (format!("{OIDC}{grant}"), "grants[0]"),
        (format!("{OIDC}{grant}{project}\ninstance = true"), "either a project, or instance = true"),
        (format!("{OIDC}{}{project}", grant.replace("'read', 'trigger'", "")), "at least one of read"),
        (format!("{OIDC}{}{project}", grant.replace("data-team", "")), "a claim and its value"),
        (format!("{OIDC}{}{project}", grant.replace("trigger", "root")), "root"),
        (format!("{OIDC}{grant}{project}\njob = 'a'"), "job"),
        (format!("{OIDC}session_hours = 24\n{grant}{project}"), "1 to 12 hours"),
        (format!("{OIDC}scopes = ['profile email']\n{grant}{project}"), "on its own"),
        (format!("{OIDC}name = ' '\n{grant}{project}"), "1 to 40 characters"),
        (format!("{OIDC}client_secret_file = '/not/there'\n{grant}{project}"), "/not/there cannot be read"),
        (format!("{OIDC}client_secret_file = '/x'\nclient_secret = 'hunter2'\n{grant}{project}"), "one of the two"),
        (format!("{}{grant}{project}", other("http://id.example.com")), "https URL"),
        (format!("{}{grant}{project}", other("https://id.example.com/?x=1")), "https URL"),
        (format!("{}{grant}{project}", other("id.example.com")), "https URL"),
    ] {
        let problem = problem(&file, &[]);
        assert!(problem.contains(part) && !problem.contains("hunter2"), "{problem}");
    }
    for issuer in ["http://localhost:8081/realms/x", "http://127.0.0.1:1", "http://[::1]:1"] {
        assert!(load(&format!("{}{grant}{project}", other(issuer)), &[]).is_ok(), "{issuer}");
    }
}

#[test]
fn tokens_of_others_are_believed_where_it_is_said() {
    assert!(load("", &[]).unwrap().issuers.all.is_empty());
    let issuer = "[[issuers]]\nissuer = 'https://sts.windows.net/tenant/'\naudiences = ['api://haulier']\n";
    let grant = "[[issuers.grants]]\nclaim = 'roles'\nvalue = 'run'\nproject = 'sales'\nscopes = ['trigger']\n";
    let all = load(&format!("{issuer}{grant}"), &[]).unwrap().issuers.all;
    assert_eq!(
        (all[0].issuer.as_str(), &all[0].audiences[..]),
        ("https://sts.windows.net/tenant/", &["api://haulier".to_owned()][..])
    );
    assert_eq!(all[0].grants.len(), 1);
    for (file, part) in [
        (issuer.to_owned(), "issuers[0].grants"),
        (format!("{issuer}{grant}{issuer}{grant}"), "issuers[1].issuer"),
        (format!("{}{grant}", issuer.replace("'api://haulier'", "")), "issuers[0].audiences"),
        (format!("{}{grant}", issuer.replace("https://", "http://")), "https URL"),
        (format!("{issuer}{}", grant.replace("'trigger'", "")), "issuers[0].grants[0]"),
        (format!("{issuer}jwks = 'x'\n{grant}"), "jwks"),
    ] {
        let problem = problem(&file, &[]);
        assert!(problem.contains(part), "{problem}");
    }
}

#[test]
fn telemetry_goes_where_it_is_said() {
    assert!(load("[telemetry]\nservice_name = 'x'", &[]).unwrap().telemetry.otlp.is_none(), "off without an endpoint");
    let file = "[telemetry]\notlp_endpoint = 'https://otel.example.com/base'\notlp_headers = 'api-key=hunter2, x = y=z'\n\
                sample_ratio = 0.25\nmetrics_interval_seconds = 15";
    let otlp = load(file, &[]).unwrap().telemetry.otlp.unwrap();
    assert_eq!((otlp.endpoint.as_str(), otlp.service_name.as_str()), ("https://otel.example.com/base", "haulier"));
    let headers: Vec<_> = otlp.headers.iter().map(|(name, value)| (name.as_str(), value.expose_secret())).collect();
    assert_eq!(headers, [("api-key", "hunter2"), ("x", "y=z")]);
    assert!(otlp.traces && otlp.metrics_interval.is_some_and(|every| every.as_secs() == 15));
    assert!(!format!("{otlp:?}").contains("hunter2"));

    let env = [("HAULIER_OTLP_ENDPOINT", "http://localhost:4318"), ("HAULIER_OTLP_HEADERS", "a=b")];
    let otlp = load(&format!("{file}\nmetrics = false"), &env).unwrap().telemetry.otlp.unwrap();
    assert_eq!((otlp.endpoint.port(), otlp.headers.len(), otlp.metrics_interval), (Some(4318), 1, None));
    for (setting, part) in [
        ("otlp_endpoint = 'otel:4318'", "http or https URL"),
        ("otlp_endpoint = 'http://u:hunter2@otel'", "http or https URL"),
        ("otlp_endpoint = 'http://otel'\notlp_headers = 'hunter2'", "name=value"),
        ("otlp_endpoint = 'http://otel'\notlp_headers = 'a b=hunter2'", "name=value"),
        ("sample_ratio = 2.0", "from 0 to 1"),
        ("metrics_interval_seconds = 1", "5 to 3600"),
        ("endpoint = 'http://otel'", "endpoint"),
    ] {
        let problem = problem(&format!("[telemetry]\n{setting}"), &[]);
        assert!(problem.contains(part) && !problem.contains("hunter2"), "{problem}");
    }
}

#[test]
fn broken_files_do_not_tell_their_secrets() {
    for file in [
        "[dashboard.oidc]\nclient_secret = [\"hunter2\"]",
        "admin_token = hunter2",
        "admin_token = \"hunter2",
        "master_key = [\"hunter2\"]",
        "[database_url]\nx = \"hunter2\"",
        "admin_token = \"hunter2\" x",
    ] {
        let error = load(file, &[]).unwrap_err();
        assert!(!format!("{error} {error:?}").contains("hunter2"), "{error:?}");
    }
}

#[test]
fn two_master_keys_in_one_layer_are_refused() {
    let key = "ab".repeat(32);
    let both = format!("master_key = '{key}'\nmaster_key_file = '/k'");
    assert!(problem(&both, &[]).contains("remove one of the two"));
    let config = load("master_key_file = '/k'", &[("HAULIER_MASTER_KEY", &key)]).unwrap();
    assert!(matches!(config.secrets.master_key, MasterKeySource::Text(_)), "the environment wins");
}

#[test]
fn secrets_may_be_in_files() {
    let dir = tempfile::tempdir().unwrap();
    let path = |name: &str, text: &str| {
        let path = dir.path().join(name);
        std::fs::write(&path, text).unwrap();
        path.display().to_string()
    };
    let (url, token) = (path("url", "postgres://u:p@h/d\n"), path("token", "sixteen-characters\n"));
    let env = [("HAULIER_DATABASE_URL_FILE", url.as_str()), ("HAULIER_ADMIN_TOKEN_FILE", token.as_str())];
    let config = load("database_url = 'sqlite:/other'", &env).unwrap();
    assert_eq!(config.storage.database_url.expose_secret(), "postgres://u:p@h/d");
    assert_eq!(config.secrets.admin_token.unwrap().expose_secret(), "sixteen-characters");
    let config = load(&format!("database_url_file = '{url}'"), &[]).unwrap();
    assert_eq!(config.storage.database_url.expose_secret(), "postgres://u:p@h/d");
    let both = [env[1], ("HAULIER_ADMIN_TOKEN", "sixteen-characters")];
    assert!(problem("", &both).contains("admin_token_file is given as well: remove one of the two"));
    assert!(problem("database_url_file = '/not/there'", &[]).contains("/not/there cannot be read"));
    assert!(problem(&format!("admin_token_file = '{}'", path("short", "hunter2")), &[]).contains("at least 16"));
}

#[test]
fn debug_shows_no_secret() {
    let key = "ab".repeat(32);
    let file = "database_url = 'postgres://u:hunter2@h/d'\nadmin_token = 'hunter2-hunter2-'\n\
                [dashboard.oidc]\nissuer = 'https://i'\nclient_id = 'c'\nclient_secret = 'hunter2'\n\
                [[dashboard.oidc.grants]]\nclaim = 'c'\nvalue = 'v'\ninstance = true\nscopes = ['read']\n\
                [engines.a]\nkind = 'docker'\npassword = 'hunter2'";
    let shown = format!("{:?}", load(file, &[("HAULIER_MASTER_KEY", &key)]).unwrap());
    assert!(!shown.contains("hunter2") && !shown.contains(&key), "{shown}");
    assert!(shown.contains("password"), "the keys are shown: {shown}");
}

#[test]
fn flags_and_their_variables_are_the_published_ones() {
    let command = ServeArgs::augment_args(clap::Command::new("serve"));
    let names: Vec<_> = command
        .get_arguments()
        .map(|arg| (arg.get_long().unwrap().to_owned(), arg.get_env().unwrap().to_str().unwrap().to_owned()))
        .collect();
    let expected = [("config", "HAULIER_CONFIG"), ("listen", "HAULIER_LISTEN"), ("data-dir", "HAULIER_DATA_DIR")];
    assert_eq!(names, expected.map(|(flag, env)| (flag.to_owned(), env.to_owned())));
    let matches = command.get_matches_from(["serve", "--listen", "0.0.0.0:9", "--data-dir", "/d"]);
    let args = ServeArgs::from_arg_matches(&matches).unwrap();
    assert_eq!((args.listen.as_deref(), args.data_dir.as_deref()), (Some("0.0.0.0:9"), Some("/d".as_ref())));
}
