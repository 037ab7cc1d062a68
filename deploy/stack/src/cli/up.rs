use std::{fs, time::Instant};

use stack::{
    DATABASE, Endpoints, Error, Kind, Life, Port, Ports, Record, Server, Stack, StackConfig,
    Started, lock_file,
};

use super::{Local, Outcome, dev_env::Values, io, secrets, stages};

/// Prints what is under way, then how long it took.
struct Progress {
    begun: Instant,
    title: String,
}

impl Progress {
    fn begin(title: &str, detail: &str) -> Self {
        println!("{title:<16} {detail} ...");
        Self {
            begun: Instant::now(),
            title: title.to_owned(),
        }
    }

    fn end(self, result: &str) {
        println!(
            "{:<16} {result} ({:.1} s)",
            self.title,
            self.begun.elapsed().as_secs_f32()
        );
    }
}

pub async fn up(local: &Local, with_services: bool) -> Outcome {
    let begun = Instant::now();
    fs::create_dir_all(local.dir()).map_err(io(format!("creating {}", local.dir().display())))?;
    let _lock = lock_file(&local.lock_file()).await?;

    let at = start_servers(local).await?;
    let progress = Progress::begin("secrets", "making those that are missing");
    progress.end(&format!("{} made", secrets::make(local)?));

    let mut known = Values::of_servers(&at);
    if with_services {
        for step in stages::steps(local) {
            let progress = Progress::begin(step.title, step.program);
            stages::run(step, &mut known).await?;
            progress.end("done");
        }
        for service in stages::services(local, &at, &known) {
            start_service(local, service).await?;
        }
        known.add_services(&at);
    }
    known.write(local)?;
    println!(
        "ready            {} written ({:.1} s in all)",
        local.dev_env_file().display(),
        begun.elapsed().as_secs_f32()
    );
    Ok(true)
}

async fn start_servers(local: &Local) -> Result<Endpoints, Error> {
    let progress = Progress::begin("servers", "PostgreSQL, Redis, RabbitMQ, anvil");
    let ports = settle_ports(local)?;
    let life = Life::Detached {
        run_dir: local.run_dir(),
    };
    let dir = Some(local.dir().to_owned());
    let stack = Stack::start(StackConfig {
        kinds: Kind::ALL.to_vec(),
        dir,
        ports,
        life,
    })
    .await?;
    let at = stack.endpoints().clone();
    if !at.has_database(DATABASE).await? {
        at.create_database(DATABASE).await?;
    }
    let fresh = stack
        .processes()
        .filter(|(_, started)| *started == Started::Fresh)
        .count();
    let list = [
        (Port::Postgres, "postgres"),
        (Port::Redis, "redis"),
        (Port::Amqp, "rabbitmq"),
        (Port::Anvil, "anvil"),
    ];
    let list = list.map(|(port, name)| format!("{name} {}", at.ports().get(port)));
    let how = if fresh == 0 {
        "running already"
    } else {
        "started"
    };
    progress.end(&format!("{how}: {}", list.join(", ")));
    Ok(at)
}

/// The ports of earlier runs, with those that another program has taken meanwhile replaced.
fn settle_ports(local: &Local) -> Result<Ports, Error> {
    let runs = |port: Port| {
        let record = Record::load(&local.run_dir(), port.process());
        record.is_some_and(|record| record.identity.is_alive())
    };
    let remembered = Ports::load(&local.ports_file())?;
    let ports = remembered.settled(runs)?;
    for (port, name, _) in Port::ALL {
        if ports.get(port) != remembered.get(port) {
            println!(
                "                 port {} is taken: {name}={} instead",
                remembered.get(port),
                ports.get(port)
            );
        }
    }
    ports.save(&local.ports_file())?;
    Ok(ports)
}

async fn start_service(local: &Local, service: stack::Service) -> Result<(), Error> {
    let at = format!("127.0.0.1:{}", service.port);
    let progress = Progress::begin(&service.name.clone(), &at);
    let server = Server::new(
        service.plan(),
        Life::Detached {
            run_dir: local.run_dir(),
        },
    );
    let started = server.start().await?;
    progress.end(if started == Started::Reused {
        "running already"
    } else {
        "ready"
    });
    Ok(())
}
