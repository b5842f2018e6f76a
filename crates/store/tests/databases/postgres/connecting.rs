//! Connecting, and the messages when it fails.

use std::fs::Permissions;
use std::os::unix::fs::PermissionsExt as _;
use std::time::Duration;

use rcgen::{BasicConstraints, CertificateParams, IsCa, Issuer, KeyPair};
use store::{Error, Wanted};
use testbed::{Cluster, Options, Stop};

use super::{Fresh, at, fresh};
use crate::conformance::server::{ANY, Server, refusal, tokens};

fn authority() -> (String, Issuer<'static, KeyPair>) {
    let key = KeyPair::generate().unwrap();
    let mut parameters = CertificateParams::new([]).unwrap();
    parameters.is_ca = IsCa::Ca(BasicConstraints::Unconstrained);
    let pem = parameters.self_signed(&key).unwrap().pem();
    (pem, Issuer::new(parameters, key))
}

#[tokio::test]
async fn tls_trusts_only_whom_it_is_told_to() {
    let (trusted, issuer) = authority();
    let (other, _) = authority();
    let key = KeyPair::generate().unwrap();
    let certificate = CertificateParams::new(["localhost".to_owned()]).unwrap();
    let certificate = certificate.signed_by(&key, &issuer).unwrap().pem();
    let cluster = Options::default().tls(&certificate, &key.serialize_pem()).start().unwrap();
    let socket = cluster.database().await.unwrap();
    let name = socket.split(['/', '?']).nth(3).unwrap().to_owned();
    let role = "create role ann login superuser password 's3cret'";
    cluster.execute(&socket, role).await.unwrap();
    let folder = tempfile::tempdir().unwrap();
    let file = |name: &str, pem: &str| {
        std::fs::write(folder.path().join(name), pem).unwrap();
        folder.path().join(name).to_str().unwrap().to_owned()
    };
    let (trusted, other) = (file("trusted.pem", &trusted), file("other.pem", &other));
    let url = |user: &str, host: &str, roots: &str| {
        let port = cluster.port();
        format!("postgres://{user}@{host}:{port}/{name}?sslmode=verify-full&sslrootcert={roots}")
    };

    let db = Fresh(url("ann:s3cret", "localhost", &trusted));
    Server::alone(&db, tokens(2)).await.allocate("Ada").await;
    let encrypted = "select count(*) from pg_stat_ssl where ssl";
    let opened = at(&db.0).open(ANY).await.unwrap();
    opened.reader.news(&opened.snapshot.position).await.unwrap();
    assert!(
        cluster
            .execute(&socket, &format!("do $$ begin assert ({encrypted}) > 1; end $$"))
            .await
            .is_ok()
    );

    let sentence = refusal(at(&url("ann:s3cret", "localhost", &other)).migrate().await);
    assert!(sentence.contains("certificate"), "{sentence}");
    let sentence = refusal(at(&url("ann:s3cret", "127.0.0.1", &trusted)).migrate().await);
    assert!(sentence.contains("certificate"), "the name must match too: {sentence}");
    let sentence = refusal(at(&url("ann:s3cret", "localhost", "/nowhere")).migrate().await);
    assert!(sentence.contains("/nowhere"), "{sentence}");

    // A wrong password fails at once, and is not retried.
    for host in
        [url("ann:hunter2", "localhost", &trusted), url("bob:hunter2", "localhost", &trusted)]
    {
        let error = at(&host).open(ANY).await.err().unwrap();
        let said = format!("{error} {error:?}");
        assert!(matches!(error, Error::Operator(_)), "{said}");
        assert!(said.contains("password") && !said.contains("hunter2"), "{said}");
    }
}

#[tokio::test]
async fn the_first_host_that_answers_is_used() {
    let cluster = Options::default().tcp().start().unwrap();
    let socket = cluster.database().await.unwrap();
    let name = socket.split(['/', '?']).nth(3).unwrap().to_owned();
    cluster.execute(&socket, "create role ann login superuser password 'x'").await.unwrap();
    let (dead, port) = (free_port(), cluster.port());
    let url = format!("postgres://ann:x@127.0.0.1:{dead},127.0.0.1:{port}/{name}");
    let mut server = Server::alone(&Fresh(url), tokens(2)).await;
    server.allocate("Ada").await;

    // A role that is read-only by default works.
    let reads = "alter role ann set default_transaction_read_only = on";
    cluster.execute(&socket, reads).await.unwrap();
    let alone = format!("postgres://ann:x@127.0.0.1:{port}/{name}");
    Server::alone(&Fresh(alone), tokens(2)).await.allocate("Bea").await;
}

#[tokio::test]
async fn a_standby_is_passed_over() {
    let [standby, primary] = [(); 2].map(|()| Options::default().tcp().start().unwrap());
    let socket = standby.database().await.unwrap();
    let name = socket.split(['/', '?']).nth(3).unwrap().to_owned();
    let role = "create role ann login superuser password 'x'";
    standby.execute(&socket, role).await.unwrap();
    primary.execute(&primary.database().await.unwrap(), role).await.unwrap();
    let signal = "copy (select 1) to program 'cat > standby.signal'";
    standby.execute(&socket, signal).await.unwrap();
    standby.stop(Stop::Fast).unwrap();
    standby.start_again().unwrap();
    let url = |hosts: &str| format!("postgres://ann:x@{hosts}/{name}");
    let [one, two] = [&standby, &primary].map(|cluster| format!("127.0.0.1:{}", cluster.port()));
    let both = Fresh(url(&format!("{one},{two}")));
    Server::alone(&both, tokens(2)).await.allocate("Ada").await;

    // It may be promoted.
    let error = at(&url(&one)).open(ANY).await.err().unwrap();
    let Error::TryAgain { cause, .. } = error else { panic!("{error:?}") };
    assert!(cause.to_string().contains("is a standby"), "{cause}");
    let error = at(&format!("{}?target_session_attrs=any", url(&one))).open(ANY).await;
    assert!(error.is_err());
}

#[tokio::test]
async fn a_password_can_change_under_a_server() {
    let cluster = Options::default().tcp().start().unwrap();
    let socket = cluster.database().await.unwrap();
    let name = socket.split(['/', '?']).nth(3).unwrap().to_owned();
    let role = "create role ann login superuser password 'one'";
    cluster.execute(&socket, role).await.unwrap();
    let folder = tempfile::tempdir().unwrap();
    let file = folder.path().join("passwords");
    let write = |password: &str| {
        std::fs::write(&file, format!("*:*:*:ann:{password}\n")).unwrap();
        std::fs::set_permissions(&file, Permissions::from_mode(0o600)).unwrap();
    };
    write("one");
    let (port, shown) = (cluster.port(), file.display());
    let url = format!("postgres://ann@127.0.0.1:{port}/{name}?passfile={shown}");
    let mut server = Server::alone(&Fresh(url.clone()), tokens(2)).await;
    server.allocate("Ada").await;
    server.reader.news(&server.position).await.unwrap();

    cluster.execute(&socket, "alter role ann password 'two'").await.unwrap();
    let end = "select pg_terminate_backend(pid) from pg_stat_activity where usename = 'ann'";
    cluster.execute(&socket, end).await.unwrap();
    let said = refusal(at(&url).open(ANY).await);
    assert!(said.contains(file.to_str().unwrap()) && !said.contains("one"), "{said}");
    assert!(server.reader.news(&server.position).await.is_err());
    write("two");
    // The first attempts notice that their connections were ended.
    let begun = async {
        while server.store.begin(&server.position).await.is_err() {}
        server.store.abandon().await;
        while server.reader.news(&server.position).await.is_err() {}
    };
    tokio::time::timeout(Duration::from_secs(20), begun).await.expect("the new password is used");
    server.allocate("Bea").await;

    std::fs::set_permissions(&file, Permissions::from_mode(0o644)).unwrap();
    let said = refusal(at(&url).open(ANY).await);
    assert!(said.contains("or can't be used"), "{said}");
}

fn free_port() -> u16 {
    std::net::TcpListener::bind("127.0.0.1:0").unwrap().local_addr().unwrap().port()
}

#[tokio::test]
async fn a_database_that_is_away_is_waited_for() {
    let cluster = Cluster::start().unwrap();
    let url = cluster.database().await.unwrap();
    let mut server = Server::alone(&Fresh(url.clone()), tokens(2)).await;
    let ada = server.allocate("Ada").await;
    cluster.stop(Stop::Immediate).unwrap();
    let away = |error: Option<Error>| {
        assert!(matches!(error, Some(Error::TryAgain { .. })), "{error:?}");
    };
    away(at(&url).open(ANY).await.err());
    away(at(&url).migrate().await.err());
    away(server.store.begin(&server.position).await.err());
    away(server.reader.news(&server.position).await.err());
    away(server.reader.history(ada.token_id, None, 1).await.err());
    cluster.start_again().unwrap();
    assert_eq!(server.history(ada.token_id).await, [ada]);
    server.allocate("Bea").await;
}

#[tokio::test]
async fn what_cannot_be_used_is_explained() {
    let cluster = Cluster::shared();
    let latin = cluster.database_with("encoding 'LATIN1' template template0").await.unwrap();
    let sentence = refusal(at(&latin).open(ANY).await);
    assert!(sentence.contains("LATIN1") && sentence.contains("encoding 'UTF8'"), "{sentence}");
    let sentence = refusal(at(&cluster.url("nowhere")).open(ANY).await);
    assert!(sentence.contains("\"nowhere\" does not exist"), "{sentence}");

    let db = fresh().await;
    drop(Server::alone(&db, ANY).await);
    let newer = "insert into migrations values (99, 'newer', '')";
    assert_eq!(db.prompt().await.execute(newer, &[]).await.unwrap(), 1);
    let refused = [
        refusal(at(&db.0).open(ANY).await),
        refusal(at(&db.0).migrate().await),
        refusal(at(&db.0).audit().await),
    ];
    for sentence in refused {
        assert!(
            sentence.contains("version 99") && sentence.contains("versions up to "),
            "{sentence}"
        );
    }
}

#[tokio::test]
async fn many_servers_may_start_at_once() {
    let db = fresh().await;
    let wanted = Wanted { size: Some(9), ..ANY };
    let starts = (0..8).map(|_| {
        let database = at(&db.0);
        tokio::spawn(async move { database.open(wanted).await.map(Server::of) })
    });
    let mut servers = Vec::new();
    for start in starts.collect::<Vec<_>>() {
        servers.push(start.await.unwrap().unwrap());
    }
    assert!(servers.iter().all(|server| server.facts() == servers[0].facts()));
}

#[tokio::test]
async fn a_commit_waits_for_the_disk_whatever_the_role_says() {
    let cluster = Cluster::start().unwrap();
    let socket = cluster.database().await.unwrap();
    let roles = "create role ann superuser login; alter role ann set synchronous_commit = off;
        create role bob superuser login; alter role bob set synchronous_commit = remote_apply;
        create table seen (role text, setting text);
        create function note() returns trigger language plpgsql as $$ begin
            insert into public.seen values (current_user, current_setting('synchronous_commit'));
            return new;
        end $$";
    cluster.execute(&socket, roles).await.unwrap();
    let db = |user: &str| Fresh(socket.replace("postgres@", &format!("{user}@")));
    drop(Server::alone(&db("ann"), tokens(2)).await);
    let trigger = "create trigger note before insert on token_manager.batches
        for each row execute function public.note()";
    cluster.execute(&socket, trigger).await.unwrap();
    for user in ["ann", "bob"] {
        Server::alone(&db(user), tokens(2)).await.allocate("Ada").await;
    }
    let seen = "select string_agg(role || ' ' || setting, ', ' order by role) from public.seen";
    let seen = db("ann").prompt().await.query_one(seen, &[]).await.unwrap();
    assert_eq!(seen.get::<_, String>(0), "ann on, bob remote_apply");
}
