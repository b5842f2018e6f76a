use super::*;

fn config(url: &str) -> Config {
    with(url, &[]).unwrap()
}

/// Reads a URL in an environment.
fn with(url: &str, variables: &[(&str, &str)]) -> Result<Config, InvalidUrl> {
    let find = |name: &str| variables.iter().find(|(variable, _)| *variable == name);
    Config::read(url, |name| find(name).map(|(_, value)| (*value).to_owned()))
}

fn refusal(url: &str) -> String {
    with(url, &[]).unwrap_err().to_string()
}

#[test]
fn a_plain_url_gets_careful_defaults() {
    let Config { server, tls, primary, .. } = config("postgres://ann:secret@db:5433/pool");
    assert_eq!(tls, Tls::Off);
    assert_eq!(server.get_hosts(), [Host::Tcp("db".to_owned())]);
    assert_eq!(server.get_ports(), [5433]);
    assert_eq!(server.get_password(), Some(b"secret".as_slice()));
    assert!(primary);
    assert_eq!(server.get_connect_timeout(), Some(&Duration::from_secs(3)));
}

#[test]
fn what_the_url_says_is_kept() {
    let Config { server, primary, .. } = config(
        "postgresql://ann@one:1,two:2/pool?target_session_attrs=any&connect_timeout=9\
         &application_name=mine&keepalives_idle=8&keepalives_count=2",
    );
    assert_eq!(server.get_keepalives_retries(), Some(2));
    assert_eq!(server.get_hosts().len(), 2);
    assert!(!primary);
    assert_eq!(server.get_connect_timeout(), Some(&Duration::from_secs(9)));
    assert_eq!(server.get_application_name(), Some("mine"));
    assert_eq!(server.get_keepalives_idle(), Duration::from_secs(8));
}

#[test]
fn a_folder_is_a_unix_socket() {
    let Config { server, .. } = config("postgres:///pool?host=/run/postgresql&user=ann");
    assert_eq!(server.get_hosts(), [Host::Unix("/run/postgresql".into())]);
    assert_eq!(server.get_user(), Some("ann"));
}

#[test]
fn every_tls_mode_verifies() {
    for mode in ["require", "verify-ca", "verify-full"] {
        let url = format!("postgres://db/pool?sslmode={mode}");
        assert_eq!(config(&url).tls, Tls::SystemRoots);
        assert_eq!(config(&url).server.get_ssl_mode(), SslMode::Require);
        let file = format!("{url}&sslrootcert=/a%20b.pem");
        assert_eq!(config(&file).tls, Tls::RootsIn("/a b.pem".into()));
    }
    assert_eq!(config("postgres://db/p?sslmode=disable").server.get_ssl_mode(), SslMode::Disable);
}

#[test]
fn what_cannot_work_is_refused_with_a_reason() {
    for (url, reason) in [
        ("postgres:///pool", "names no host"),
        ("postgres://a:b@c@db/pool", "%40"),
        ("postgres://db/pool?sslmode=prefer", "choose disable or verify-full"),
        ("postgres://db/pool?sslmode=maybe", "sslmode is"),
        ("postgres://db/pool?sslrootcert=/a", "needs sslmode"),
        ("postgres://db/pool?sslcert=/a", "\"sslcert\""),
        ("postgres://db/pool?pool", "without a ="),
        ("postgres://db:x/pool", "port"),
        ("postgres://a:1,b:2/pool?port=3", "as many ports as hosts"),
        ("postgres://db/pool?target_session_attrs=read-only", "written to"),
    ] {
        assert!(refusal(url).contains(reason), "{url}: {}", refusal(url));
    }
}

/// Host and port of each target.
fn targets(config: &Config) -> Vec<(Host, u16)> {
    let servers = config.targets().into_iter().map(|target| target.server);
    servers.map(|server| (server.get_hosts()[0].clone(), server.get_ports()[0])).collect()
}

#[test]
fn each_host_has_its_port() {
    let tcp = |name: &str, port| (Host::Tcp(name.to_owned()), port);
    for (url, wanted) in [
        ("postgres://a,b/p", vec![tcp("a", 5432), tcp("b", 5432)]),
        ("postgres://a:1,b:2/p", vec![tcp("a", 1), tcp("b", 2)]),
        ("postgres://a,b:2/p", vec![tcp("a", 5432), tcp("b", 2)]),
        ("postgres://a,b/p?port=7", vec![tcp("a", 7), tcp("b", 7)]),
        ("postgres:///p?host=a,b&port=7,8", vec![tcp("a", 7), tcp("b", 8)]),
        ("postgres://[::1]/p?port=7", vec![tcp("::1", 7)]),
        ("postgres://a/p?hostaddr=10.0.0.1", vec![tcp("a", 5432)]),
    ] {
        assert_eq!(targets(&config(url)), wanted, "{url}");
    }
    let config = config("postgres://a,b,c,d,e,f,g,h/p?load_balance_hosts=random");
    assert!((0..100).any(|_| targets(&config) != targets(&config)));
}

#[test]
fn the_environment_fills_in_what_the_url_leaves_open() {
    let all = [
        ("PGHOST", "/run/postgresql"),
        ("PGPORT", "5433"),
        ("PGUSER", "ann"),
        ("PGDATABASE", "the pool"),
        ("PGAPPNAME", "it & that"),
        ("PGOPTIONS", ""),
        ("PGPASSFILE", "/a b"),
    ];
    let found = with("postgres://", &all).unwrap();
    assert_eq!(targets(&found), [(Host::Unix("/run/postgresql".into()), 5433)]);
    let Config { server, passfile, .. } = found;
    assert_eq!((server.get_user(), server.get_dbname()), (Some("ann"), Some("the pool")));
    assert_eq!(server.get_application_name(), Some("it & that"));
    assert_eq!((server.get_options(), passfile), (None, Some("/a b".into())));

    let found = with("postgres://bob@db:1/p?application_name=x&passfile=/c%20d", &all).unwrap();
    assert_eq!(targets(&found), [(Host::Tcp("db".to_owned()), 1)]);
    let Config { server, passfile, .. } = found;
    assert_eq!((server.get_user(), server.get_dbname()), (Some("bob"), Some("p")));
    assert_eq!((server.get_application_name(), passfile), (Some("x"), Some("/c d".into())));

    let verify = [("PGSSLMODE", "verify-full"), ("PGSSLROOTCERT", "/a b.pem")];
    let found = with("postgres://db/p", &verify).unwrap();
    assert_eq!(found.tls, Tls::RootsIn("/a b.pem".into()));
}

#[test]
fn an_environment_that_asks_for_more_is_refused() {
    for (name, value) in [
        ("PGSERVICE", "pool"),
        ("PGSSLCERT", "/a.pem"),
        ("PGGSSENCMODE", "require"),
        ("PGSSLMINPROTOCOLVERSION", "TLSv1.3"),
        ("PGSSLMODE", "prefer"),
    ] {
        let said = with("postgres://db/p", &[(name, value)]).unwrap_err().to_string();
        assert!(said.contains(name), "{said}");
    }
    for (name, value) in [("PGGSSENCMODE", "prefer"), ("PGSERVICE", ""), ("PGTZ", "UTC")] {
        assert!(with("postgres://db/p", &[(name, value)]).is_ok(), "{name}");
    }
    assert!(with("postgres://db/p?sslmode=disable", &[("PGSSLMODE", "prefer")]).is_ok());
}

#[test]
fn a_password_is_never_shown() {
    let shown = format!("{:?}", config("postgres://ann:hunter2@db/p?password=hunter2"));
    assert!(shown.contains("ann") && !shown.contains("hunter2"), "{shown}");
    assert!(!refusal("postgres://ann:hunter2@x@db/p").contains("hunter2"));
    assert!(!refusal("postgres://ann:hunter2@db:y/p").contains("hunter2"));
}
