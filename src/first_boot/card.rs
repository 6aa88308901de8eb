//! The boot partition: what an installer put there, and what is left there afterwards.

use std::collections::BTreeMap;
use std::fs::{self, File};
use std::io::{self, Read};
use std::path::{Path, PathBuf};

use super::failure::{Failure, Stop};
use super::names::{ENV, ERROR_FILE, TOML};
use super::refusal::{CardRefusal, without_password};
use super::text::{LONGEST_BYTES, decode};
use crate::base::durable_file::{self, Access};

/// A boot partition with something for us on it.
pub(super) struct Card {
    folder: PathBuf,
    /// Names in small letters (FAT does not tell them apart), and as they are written.
    files: BTreeMap<String, PathBuf>,
}

impl Card {
    /// The first of the folders that holds a configuration or variables.
    pub(super) fn find(folders: &[PathBuf]) -> Result<Option<Self>, Failure> {
        for folder in folders {
            let entries = match fs::read_dir(folder) {
                Ok(entries) => entries,
                Err(error)
                    if matches!(error.kind(), io::ErrorKind::NotFound | io::ErrorKind::NotADirectory) =>
                {
                    continue;
                }
                Err(error) => return Err(Failure::of("list", folder)(error)),
            };
            let mut files = BTreeMap::new();
            for entry in entries {
                let path = entry.map_err(Failure::of("list", folder))?.path();
                if let Some(name) = path.file_name().and_then(|name| name.to_str()).filter(|_| path.is_file())
                {
                    files.insert(name.to_ascii_lowercase(), path);
                }
            }
            let card = Self { folder: folder.clone(), files };
            if [TOML, ENV].iter().any(|name| !card.called(name).is_empty()) {
                return Ok(Some(card));
            }
        }
        Ok(None)
    }

    pub(super) fn folder(&self) -> &Path {
        &self.folder
    }

    /// The files of this name, also with the `.txt` that Windows appends and does not show.
    fn called(&self, name: &str) -> Vec<&Path> {
        let name = name.to_ascii_lowercase();
        let names = [name.clone(), format!("{name}.txt")];
        names.iter().filter_map(|name| self.files.get(name)).map(PathBuf::as_path).collect()
    }

    /// What the file of this name says, if there is one.
    pub(super) fn text(&self, name: &str) -> Result<Option<String>, Stop> {
        let path = match self.called(name)[..] {
            [] => return Ok(None),
            [path] => path,
            _ => {
                let both = format!("there is also {name}.txt, and which of the two is meant cannot be known");
                return Err(Box::new(CardRefusal::of_file(name, &both, "remove one of them")).into());
            }
        };
        let shown = path.file_name().map_or_else(|| name.into(), |name| name.to_string_lossy());
        let mut bytes = Vec::new();
        File::open(path)
            .and_then(|file| file.take(LONGEST_BYTES + 1).read_to_end(&mut bytes))
            .map_err(Failure::of("read", path))?;
        if bytes.len() as u64 > LONGEST_BYTES {
            let large = format!("this is larger than {} KiB, so it is something else", LONGEST_BYTES / 1024);
            let right = "put the text file there that was meant";
            return Err(Box::new(CardRefusal::of_file(&shown, &large, right)).into());
        }
        Ok(Some(decode(&shown, &bytes)?))
    }

    /// Gives a file that was taken over the name `….taken`, without passwords. Gives a note where it had any.
    pub(super) fn put_away(&self, name: &str, text: &str) -> Result<Option<String>, Failure> {
        let taken = self.folder.join(format!("{name}.taken"));
        let has_password = text.lines().any(|line| without_password(line) != line);
        if has_password {
            let lines: Vec<String> = text.lines().map(without_password).collect();
            let text = format!("# A password that stood in a URL was removed here.\n{}\n", lines.join("\n"));
            write_whole(&taken, &text)?;
        }
        for path in self.called(name) {
            if has_password {
                fs::remove_file(path).map_err(Failure::of("remove", path))?;
            } else {
                fs::rename(path, &taken).map_err(Failure::of("rename", path))?;
            }
        }
        self.sync()?;
        Ok(has_password.then(|| format!("{name} held a password, which was removed from the boot partition")))
    }

    /// Removes a file of secrets that was taken over.
    pub(super) fn remove(&self, name: &str) -> Result<(), Failure> {
        for path in self.called(name) {
            fs::remove_file(path).map_err(Failure::of("remove", path))?;
        }
        self.sync()
    }

    /// Leaves word for whoever looks at the card on a PC.
    pub(super) fn tell(&self, refusal: &CardRefusal) -> Result<PathBuf, Failure> {
        let path = self.folder.join(ERROR_FILE);
        let text = format!(
            "{refusal}\nWhat was in force before still is. Correct the file on this card, on any PC, and start the\n\
             board with it again: then this text goes away. Only the first mistake is named.\n"
        );
        let text = for_notepad(&text);
        // Every start of a board with a wrong file says the same; a card need not be written for that.
        if fs::read_to_string(&path).is_ok_and(|before| before == text) {
            return Ok(path);
        }
        write_whole(&path, &text)?;
        Ok(path)
    }

    /// Removes what an earlier attempt said.
    pub(super) fn all_is_well(&self) -> Result<(), Failure> {
        let path = self.folder.join(ERROR_FILE);
        match fs::remove_file(&path) {
            Ok(()) => self.sync(),
            Err(error) if error.kind() == io::ErrorKind::NotFound => Ok(()),
            Err(error) => Err(Failure::of("remove", &path)(error)),
        }
    }

    fn sync(&self) -> Result<(), Failure> {
        durable_file::sync_folder(&self.folder).map_err(Failure::of("write to", &self.folder))
    }
}

/// Lines that Notepad breaks where they end; a mark at the beginning only where letters need it.
fn for_notepad(text: &str) -> String {
    let mark = if text.is_ascii() { "" } else { "\u{feff}" };
    format!("{mark}{}", text.replace('\n', "\r\n"))
}

fn write_whole(path: &Path, text: &str) -> Result<(), Failure> {
    durable_file::write(path, text.as_bytes(), Access::USUAL).map_err(Failure::of("write", path))
}
