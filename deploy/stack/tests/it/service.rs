//! Processes of ours, played by a small Node program.

use std::{fs, os::unix::fs::PermissionsExt, path::Path, time::Duration};

use stack::{Error, Life, Plan, Server, Service, Started, TempDir, free_port};

fn service(dir: &Path, port: u16, status: &str) -> Plan {
    let program = dir.join("service");
    if !program.exists() {
        let source = "#!/usr/bin/env node\n\
            const { PORT, STATUS } = process.env;\n\
            const answer = (q, r) => { r.statusCode = q.url === '/readyz' ? Number(STATUS) : 404; r.end('no broker'); };\n\
            require('http').createServer(answer).listen(PORT, '127.0.0.1');\n";
        fs::write(&program, source).unwrap();
        fs::set_permissions(&program, PermissionsExt::from_mode(0o755)).unwrap();
    }
    let service = Service {
        name: "echo".into(),
        program,
        args: Vec::new(),
        env: vec![
            ("PORT".into(), port.to_string()),
            ("STATUS".into(), status.into()),
        ],
        port,
        dir: dir.to_owned(),
        log_dir: dir.to_owned(),
        order: 10,
    };
    service.plan()
}

/// A detached service of a test.
struct Detached(TempDir);

impl Detached {
    fn server(&self, plan: Plan) -> Server {
        Server::new(
            plan,
            Life::Detached {
                run_dir: self.0.path().to_owned(),
            },
        )
    }
}

impl Drop for Detached {
    fn drop(&mut self) {
        for record in stack::Record::all(self.0.path()) {
            record.identity.signal_tree(rustix::process::Signal::KILL);
        }
    }
}

#[tokio::test]
async fn a_service_is_reused_until_its_program_or_environment_changes() {
    let test = Detached(TempDir::new().unwrap());
    let (dir, port) = (test.0.path(), free_port().unwrap());
    let first = test.server(service(dir, port, "200"));
    assert_eq!(first.start().await.unwrap(), Started::Fresh);
    let pid = first.identity();

    let same = test.server(service(dir, port, "200"));
    assert_eq!(same.start().await.unwrap(), Started::Reused);
    assert_eq!(same.identity(), pid);

    let mut plan = service(dir, port, "200");
    plan.launch.env.push(("LEVEL".into(), "debug".into()));
    let other_env = test.server(plan.clone());
    assert_eq!(other_env.start().await.unwrap(), Started::Fresh);
    assert!(!pid.unwrap().is_alive());

    let source = fs::read_to_string(&plan.launch.program).unwrap();
    fs::write(&plan.launch.program, source + "// another build\n").unwrap();
    let other_build = test.server(plan);
    assert_eq!(other_build.start().await.unwrap(), Started::Fresh);
    assert_ne!(other_build.identity(), other_env.identity());
    other_build.stop().await.unwrap();
    assert!(!other_build.is_alive());
}

#[tokio::test]
async fn a_killed_service_is_started_again() {
    let test = Detached(TempDir::new().unwrap());
    let (dir, port) = (test.0.path(), free_port().unwrap());
    let server = test.server(service(dir, port, "200"));
    server.start().await.unwrap();
    server
        .identity()
        .unwrap()
        .signal_tree(rustix::process::Signal::KILL);
    let later = test.server(service(dir, port, "200"));
    assert_eq!(later.start().await.unwrap(), Started::Fresh);
    later.stop().await.unwrap();
}

#[tokio::test]
async fn a_service_that_is_not_ready_is_ended_and_its_reason_told() {
    let test = Detached(TempDir::new().unwrap());
    let mut plan = service(test.0.path(), free_port().unwrap(), "503");
    plan.start_limit = Duration::from_secs(2);
    let server = test.server(plan);
    let error = server.start().await.unwrap_err();
    assert!(
        matches!(&error, Error::NotReady { last, .. } if last == "/readyz answers 503: no broker"),
        "{error}"
    );
    assert!(!server.is_alive());
}
