use stack::{Port, Ports, Record};

use super::Local;

/// Prints a line for each process; false when one that should run does not.
pub fn status(local: &Local) -> bool {
    let records = Record::all(&local.run_dir());
    if records.is_empty() {
        println!("nothing runs; `make up` starts the stack");
        return false;
    }
    let ports = Ports::load(&local.ports_file()).unwrap_or_default();
    let mut all = true;
    for record in records {
        let alive = record.identity.is_alive();
        all &= alive;
        let state = if alive { "running" } else { "ended" };
        let port = Port::ALL
            .iter()
            .find(|(port, _, _)| port.process() == record.name);
        let port = port.map_or(String::new(), |(port, _, _)| {
            format!("127.0.0.1:{}", ports.get(*port))
        });
        let log = local.log_dir().join(format!("{}.log", record.name));
        println!(
            "{:<16} {state:<8} pid {:<8} {port:<16} {}",
            record.name,
            record.identity.pid,
            log.display()
        );
    }
    all
}
