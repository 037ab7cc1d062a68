//! `deploy/compose.yaml` offers the servers that this crate starts.

use serde_yaml_ng::Value;
use stack::{BLOCK_TIME_SECS, CHAIN_ID, DATABASE, OWNER, Port, postgres, rabbitmq, redis, tools};

fn service(name: &str) -> Value {
    let text =
        std::fs::read_to_string(tools::workspace_root().join("deploy/compose.yaml")).unwrap();
    let mut file: Value = serde_yaml_ng::from_str(&text).unwrap();
    file.apply_merge().unwrap();
    let services = file["services"].as_mapping().unwrap();
    // Four servers, four services, and what runs between them.
    assert_eq!(services.len(), 9);
    let service = services[name].clone();
    // What runs to its end is never unhealthy.
    assert!(
        name == "setup" || service["healthcheck"]["test"].is_sequence(),
        "{name} has no health check"
    );
    assert!(!service["image"].as_str().unwrap().ends_with(":latest"));
    service
}

fn words(value: &Value) -> Vec<&str> {
    value
        .as_sequence()
        .unwrap()
        .iter()
        .map(|word| word.as_str().unwrap())
        .collect()
}

/// Published on the loopback address only, on the port that the local stack asks for first.
fn assert_published(service: &Value, port: Port, inside: u16) {
    let (_, _, number) = Port::ALL.into_iter().find(|(p, _, _)| *p == port).unwrap();
    assert_eq!(
        words(&service["ports"]),
        [format!("127.0.0.1:{number}:{inside}")]
    );
}

#[test]
fn postgres_has_the_same_owner_database_and_settings() {
    let service = service("postgres");
    assert_published(&service, Port::Postgres, 5432);
    let mut command = vec!["postgres".to_owned()];
    for (name, value) in postgres::SETTINGS {
        command.extend(["-c".to_owned(), format!("{name}={value}")]);
    }
    // The local stack takes a quarter of the memory; compose can't know it.
    let buffers = "shared_buffers=${POSTGRES_SHARED_BUFFERS:-1GB}";
    command.extend(["-c".to_owned(), buffers.to_owned()]);
    assert_eq!(words(&service["command"]), command);
    let environment = &service["environment"];
    assert_eq!(environment["POSTGRES_USER"], OWNER);
    assert_eq!(environment["POSTGRES_DB"], DATABASE);
    assert_eq!(
        environment["POSTGRES_INITDB_ARGS"],
        postgres::INITDB_ARGS.join(" ").as_str()
    );
}

#[test]
fn redis_has_the_same_settings() {
    let service = service("redis");
    assert_published(&service, Port::Redis, 6379);
    let mut command = vec!["redis-server".to_owned()];
    for (name, value) in redis::SETTINGS {
        command.extend([format!("--{name}"), value.to_owned()]);
    }
    assert_eq!(words(&service["command"]), command);
}

#[test]
fn rabbitmq_has_the_same_user() {
    let service = service("rabbitmq");
    assert_published(&service, Port::Amqp, 5672);
    assert_eq!(
        service["environment"]["RABBITMQ_DEFAULT_USER"],
        rabbitmq::USER
    );
    assert_eq!(
        service["environment"]["RABBITMQ_DEFAULT_PASS"],
        rabbitmq::PASSWORD
    );
}

#[test]
fn anvil_has_the_same_chain() {
    let service = service("anvil");
    assert_published(&service, Port::Anvil, 8545);
    let command = words(&service["command"]).join(" ");
    assert!(
        command.contains(&format!(
            "--chain-id {CHAIN_ID} --block-time {BLOCK_TIME_SECS} "
        )),
        "{command}"
    );
    // The packages of contracts/ and the image are of one release.
    let packages =
        std::fs::read_to_string(tools::workspace_root().join("contracts/package.json")).unwrap();
    let release = service["image"]
        .as_str()
        .unwrap()
        .split(":v")
        .nth(1)
        .unwrap();
    assert!(
        packages.contains(&format!(r#""@foundry-rs/anvil-linux-amd64": "{release}""#)),
        "{release}"
    );
}
