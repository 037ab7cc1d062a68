use std::{fs, path::Path};

use stack::{Error, lock_file, stop_recorded};

use super::{Local, Outcome, io};

pub async fn down(local: &Local) -> Outcome {
    if !local.run_dir().exists() {
        println!("nothing runs");
        return Ok(true);
    }
    let _lock = lock_file(&local.lock_file()).await?;
    let stopped = stop_recorded(&local.run_dir()).await?;
    println!(
        "{}",
        if stopped.is_empty() {
            "nothing runs".into()
        } else {
            format!("stopped {}", stopped.join(", "))
        }
    );
    Ok(true)
}

pub async fn reset(local: &Local) -> Outcome {
    down(local).await?;
    let dir = local.dir();
    if !dir.exists() {
        return Ok(true);
    }
    // A trial machine below it may have the toolchain of this one bound into it.
    if let Some(mount) = mount_below(
        dir,
        &fs::read_to_string("/proc/self/mountinfo").unwrap_or_default(),
    ) {
        let problem = format!("something is mounted on {mount}; run `umount {mount}`, then again");
        return Err(Error::BadFile {
            path: stack::PathDisplay(dir.to_owned()),
            problem,
        });
    }
    fs::remove_dir_all(dir).map_err(io(format!("removing {}", dir.display())))?;
    println!("removed {}", dir.display());
    Ok(true)
}

pub async fn test_down() -> Outcome {
    let stopped = stack::test_down().await?;
    if !stopped {
        println!("the test servers are in use and stay");
    }
    Ok(true)
}

fn mount_below(dir: &Path, mountinfo: &str) -> Option<String> {
    let points = mountinfo.lines().filter_map(|line| line.split(' ').nth(4));
    points
        .map(|point| point.replace("\\040", " "))
        .find(|point| Path::new(point).starts_with(dir))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_mount_below_the_directory_is_found_and_one_beside_it_is_not() {
        let info =
            "22 1 8:1 / / rw - ext4 a b\n23 22 0:5 / /x/.local/a\\040b/proc rw - proc proc rw\n";
        assert_eq!(
            mount_below(Path::new("/x/.local"), info),
            Some("/x/.local/a b/proc".into())
        );
        assert_eq!(mount_below(Path::new("/x/.loc"), info), None);
    }
}
