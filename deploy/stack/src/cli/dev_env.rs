use std::{fs, io::Write, os::unix::fs::OpenOptionsExt};

use stack::{DATABASE, Endpoints, Error, OWNER, Port};

use super::{Local, Outcome, io};

/// What scripts and load tests may rely on, in the order of the file.
const NAMES: [&str; 11] = [
    "ACCOUNT_API",
    "ACCOUNT_API_KEY",
    "HUB_API",
    "CHAIN_WORKER_API",
    "PROMETHEUS_TARGETS",
    "DATABASE_URL",
    "REDIS_URL",
    "AMQP_URL",
    "CHAIN_RPC",
    "TOKEN_ADDRESS",
    "CHANNELS_ADDRESS",
];

/// Names and values known so far; a name set again takes the new value.
#[derive(Debug, Clone, Default)]
pub struct Values(Vec<(String, String)>);

impl Values {
    /// Where the servers answer.
    pub fn of_servers(at: &Endpoints) -> Self {
        let mut values = Self::default();
        values.set("DATABASE_URL", at.database_url(OWNER, DATABASE));
        values.set("REDIS_URL", at.redis_url());
        values.set("AMQP_URL", at.amqp_url());
        values.set("CHAIN_RPC", at.chain_rpc());
        values
    }

    /// Where the services answer.
    pub fn add_services(&mut self, at: &Endpoints) {
        let address = |port| format!("127.0.0.1:{}", at.ports().get(port));
        let url = |port| format!("http://{}", address(port));
        self.set("ACCOUNT_API", url(Port::AccountService));
        self.set("HUB_API", url(Port::HubVault));
        self.set("CHAIN_WORKER_API", url(Port::ChainWorker));
        let services = [
            Port::AccountService,
            Port::ChainWorker,
            Port::HubVault,
            Port::HubMint,
        ];
        self.set("PROMETHEUS_TARGETS", services.map(address).join(","));
    }

    pub fn set(&mut self, name: &str, value: String) {
        self.0.retain(|(known, _)| known != name);
        self.0.push((name.to_owned(), value));
    }

    pub fn get(&self, name: &str) -> Option<&str> {
        self.0
            .iter()
            .find(|(known, _)| known == name)
            .map(|(_, value)| value.as_str())
    }

    /// The text with each known `{NAME}` replaced by its value.
    pub fn fill_in(&self, text: &str) -> String {
        self.0.iter().fold(text.to_owned(), |text, (name, value)| {
            text.replace(&format!("{{{name}}}"), value)
        })
    }

    /// Takes over the `NAME=value` lines among what a program printed.
    pub fn read_lines(&mut self, text: &str) {
        for (name, value) in text.lines().filter_map(|line| line.split_once('=')) {
            if !name.is_empty()
                && name
                    .bytes()
                    .all(|b| b.is_ascii_uppercase() || b.is_ascii_digit() || b == b'_')
            {
                self.set(name, value.trim().to_owned());
            }
        }
    }

    pub fn pairs(&self) -> Vec<(String, String)> {
        self.0.clone()
    }

    /// Writes the file as a whole; it holds an admin key, so only its owner may read it.
    pub fn write(&self, local: &Local) -> Result<(), Error> {
        let path = local.dev_env_file();
        let fresh = path.with_extension("new");
        let lines = NAMES
            .iter()
            .filter_map(|name| Some(format!("{name}={}\n", self.get(name)?)));
        let text: String = lines.collect();
        // Left over by an interrupted run.
        let _ = fs::remove_file(&fresh);
        fs::File::options()
            .write(true)
            .create_new(true)
            .mode(0o600)
            .open(&fresh)
            .and_then(|mut file| file.write_all(text.as_bytes()))
            .and_then(|()| fs::rename(&fresh, &path))
            .map_err(io(format!("writing {}", path.display())))
    }
}

/// Prints the file.
pub fn print(local: &Local) -> Outcome {
    let path = local.dev_env_file();
    match fs::read_to_string(&path) {
        Ok(text) => {
            print!("{text}");
            Ok(true)
        }
        Err(_) => {
            eprintln!("{} does not exist: run `make up` first", path.display());
            Ok(false)
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn only_whole_assignments_of_a_programs_output_are_taken() {
        let mut values = Values::default();
        values.read_lines(
            "deploying ...\nTOKEN_ADDRESS=0x01\nnote=no\n=x\nA B=c\nTOKEN_ADDRESS=0x02 \n",
        );
        assert_eq!(
            values.pairs(),
            [("TOKEN_ADDRESS".to_owned(), "0x02".to_owned())]
        );
    }
}
