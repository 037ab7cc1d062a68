//! Real servers, private to each test.

use std::{net::TcpListener, time::Duration};

use stack::{Anvil, AnvilOptions, Error, Kind, Port, Probe, Stack, StackConfig};

#[tokio::test]
async fn every_server_answers_and_ends_with_its_owner() {
    let stack = Stack::start(StackConfig::private(&Kind::ALL).unwrap())
        .await
        .unwrap();
    let probes: Vec<Probe> = stack
        .processes()
        .map(|(server, _)| server.plan().probe)
        .collect();
    let processes: Vec<_> = stack
        .processes()
        .filter_map(|(server, _)| server.identity())
        .collect();
    assert_eq!(processes.len(), 5);
    for probe in &probes {
        probe.check().unwrap();
    }
    drop(stack);
    for (probe, process) in probes.iter().zip(processes) {
        assert!(!process.is_alive());
        assert!(probe.check().is_err(), "{probe:?} still answers");
    }
}

#[tokio::test]
async fn committed_rows_survive_kill9_of_the_whole_postgres() {
    let stack = Stack::start(StackConfig::private(&[Kind::Postgres]).unwrap())
        .await
        .unwrap();
    let (at, server) = (stack.endpoints(), stack.server(Kind::Postgres).unwrap());
    at.create_database("money").await.unwrap();
    at.sql("money", "CREATE TABLE t AS SELECT 42 AS v")
        .await
        .unwrap();

    server.kill9();
    assert!(!server.is_alive());
    assert!(at.sql("money", "SELECT 1").await.is_err());
    server.start().await.unwrap();
    assert_eq!(
        at.sql("money", "SELECT v FROM t").await.unwrap(),
        [[Some("42".to_owned())]]
    );

    let settings = at
        .sql(
            "money",
            "SELECT current_setting('fsync'), current_setting('synchronous_commit')",
        )
        .await;
    assert_eq!(
        settings.unwrap(),
        [[Some("on".to_owned()), Some("on".to_owned())]]
    );
    let refused = at
        .sql("money", "SELECT 1 / 0")
        .await
        .unwrap_err()
        .to_string();
    assert!(refused.contains("22012"), "{refused}");
}

#[tokio::test]
async fn a_paused_server_keeps_silent_until_it_is_resumed() {
    let stack = Stack::start(StackConfig::private(&[Kind::Redis]).unwrap())
        .await
        .unwrap();
    let server = stack.server(Kind::Redis).unwrap();
    let probe = server.plan().probe;
    server.pause();
    let refused = tokio::task::spawn_blocking(move || probe.check())
        .await
        .unwrap();
    assert!(refused.is_err());
    server.resume();
    probe.check().unwrap();
    server.restart().await.unwrap();
    probe.check().unwrap();
}

#[tokio::test]
async fn rabbitmq_comes_back_on_its_data_after_kill9() {
    let stack = Stack::start(StackConfig::private(&[Kind::RabbitMq]).unwrap())
        .await
        .unwrap();
    let server = stack.server(Kind::RabbitMq).unwrap();
    server.kill9();
    assert!(server.plan().probe.check().is_err());
    server.start().await.unwrap();
    server.plan().probe.check().unwrap();
}

#[tokio::test]
async fn a_private_chain_mines_on_time_and_keeps_its_state_over_an_orderly_restart() {
    let dir = stack::TempDir::new().unwrap();
    let options = AnvilOptions {
        block_time_ms: Some(100),
        state: Some(dir.path().join("state.json")),
        args: vec![],
    };
    let chain = Anvil::spawn(options).await.unwrap();
    let port: u16 = chain.rpc_url().rsplit(':').next().unwrap().parse().unwrap();
    let block = || {
        let call = r#"{"jsonrpc":"2.0","id":1,"method":"eth_blockNumber","params":[]}"#;
        let (_, body) = stack::request(port, "POST", "/", call, Duration::from_secs(5)).unwrap();
        let hex = body
            .split("0x")
            .nth(1)
            .unwrap()
            .split('"')
            .next()
            .unwrap()
            .to_owned();
        u64::from_str_radix(&hex, 16).unwrap()
    };
    while block() < 3 {
        tokio::time::sleep(Duration::from_millis(20)).await;
    }
    let before = block();
    chain.server().restart().await.unwrap();
    assert!(block() >= before);
}

#[tokio::test]
async fn a_port_that_somebody_else_holds_is_named_and_its_holder_left_alone() {
    let mut config = StackConfig::private(&[Kind::Redis]).unwrap();
    let holder = TcpListener::bind(("127.0.0.1", config.ports.get(Port::Redis))).unwrap();
    holder.set_nonblocking(true).unwrap();
    let taken = config.ports.get(Port::Redis);
    let error = Stack::start(config.clone()).await.unwrap_err();
    assert!(
        matches!(error, Error::PortTaken { port, .. } if port == taken),
        "{error}"
    );
    assert!(
        holder.accept().is_err(),
        "the other program got a connection"
    );

    config.ports = config.ports.settled(|_| false).unwrap();
    Stack::start(config).await.unwrap();
}

#[tokio::test]
async fn a_server_that_can_not_start_says_why_at_once() {
    let bad = AnvilOptions {
        args: vec!["--no-such-option".into()],
        ..AnvilOptions::default()
    };
    let error = Anvil::spawn(bad).await.unwrap_err().to_string();
    assert!(
        error.contains("anvil") && error.contains("--no-such-option"),
        "{error}"
    );
}
