//! Looks for keys where none may be.

use std::collections::HashMap;
use std::fmt::Write;
use std::fs::{self, File};
use std::io;
use std::os::unix::fs::FileExt;
use std::path::Path;

use base64ct::{Base64, Base64Url, Encoding};

/// Octets that are compared at once: the first of a needle, and what the index is made of.
const STEM: usize = 8;
/// How much of memory is read at once.
const CHUNK: usize = 1 << 20;

/// What to look for.
#[derive(Clone, Debug, Default)]
pub(crate) struct Needles {
    names: Vec<String>,
    needles: Vec<(usize, Vec<u8>)>,
    /// Which needles begin so.
    stems: HashMap<[u8; STEM], Vec<usize>>,
    /// Whether any needle begins with these two octets: spares most look-ups.
    first_two: Vec<bool>,
}

/// Something that was found.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub(crate) struct Found {
    /// Which needle, in which form.
    pub(crate) name: String,
    /// The file or memory region.
    pub(crate) place: String,
    pub(crate) offset: u64,
}

impl Needles {
    /// Every part of 8 octets of a key, and every part of 12 letters of its base64: what is left of a copy may be a part of it.
    pub(crate) fn add_parts(&mut self, name: &str, octets: &[u8]) {
        for part in octets.chunks_exact(STEM) {
            self.add(format!("{name}, octets"), part.to_vec());
        }
        for part in Base64::encode_string(octets).trim_end_matches('=').as_bytes().chunks_exact(12) {
            self.add(format!("{name}, base64"), part.to_vec());
        }
    }

    /// A key in every form in which someone may print it.
    pub(crate) fn add_printed(&mut self, name: &str, octets: &[u8]) {
        let first = &octets[..octets.len().min(32)];
        let list = |separator: &str| first.iter().map(u8::to_string).collect::<Vec<_>>().join(separator);
        let hex = first.iter().fold(String::new(), |mut hex, octet| {
            let _ = write!(hex, "{octet:02x}");
            hex
        });
        let hex_list = |separator: &str| first.iter().map(|octet| format!("{octet:x}")).collect::<Vec<_>>().join(separator);
        let escaped: String = first.iter().flat_map(|octet| std::ascii::escape_default(*octet)).map(char::from).collect();
        // As `bytes` prints it.
        let escaped = escaped.replace("\\'", "'");
        for (form, text) in [
            ("base64", Base64::encode_string(octets)),
            ("base64url", Base64Url::encode_string(octets)),
            ("hexadecimal", hex.clone()),
            ("HEXADECIMAL", hex.to_uppercase()),
            ("decimal list", list(", ")),
            ("decimal list", list(",")),
            ("decimal list", list(" ")),
            ("lines of decimals", list(",\n    ")),
            ("hexadecimal list", hex_list(", ")),
            ("hexadecimal list", hex_list(":")),
            ("escaped", escaped),
        ] {
            self.add(format!("{name}, {form}"), text.trim_end_matches('=').into());
        }
        self.add(format!("{name}, octets"), first.to_vec());
    }

    pub(crate) fn add(&mut self, name: String, needle: Vec<u8>) {
        let Some(stem) = needle.first_chunk::<STEM>().copied() else { panic!("{name} is too short to be looked for") };
        self.first_two.resize(1 << 16, false);
        self.first_two[first_two(&stem)] = true;
        self.stems.entry(stem).or_default().push(self.needles.len());
        self.names.push(name);
        self.needles.push((self.names.len() - 1, needle));
    }

    /// All that is in `hay`, which is said to be at `place`, from `offset` on.
    pub(crate) fn find_in(&self, hay: &[u8], place: &str, offset: u64) -> Vec<Found> {
        let mut found = Vec::new();
        for (at, stem) in hay.windows(STEM).enumerate() {
            if !self.first_two[usize::from(stem[0]) << 8 | usize::from(stem[1])] {
                continue;
            }
            let Some(needles) = stem.first_chunk::<STEM>().and_then(|stem| self.stems.get(stem)) else { continue };
            for (name, needle) in needles.iter().map(|&needle| &self.needles[needle]) {
                if hay[at..].starts_with(needle) {
                    found.push(Found { name: self.names[*name].clone(), place: place.to_owned(), offset: offset + at as u64 });
                }
            }
        }
        found
    }

    /// All that is in the files below `folder`, and how many files that are.
    pub(crate) fn find_in_files(&self, folder: &Path) -> (usize, Vec<Found>) {
        let (mut files, mut found) = (0, Vec::new());
        for entry in fs::read_dir(folder).expect("a folder").flatten() {
            let path = entry.path();
            if path.is_dir() {
                let (more_files, more) = self.find_in_files(&path);
                files += more_files;
                found.extend(more);
            } else {
                files += 1;
                found.extend(self.find_in(&fs::read(&path).expect("readable"), &path.display().to_string(), 0));
            }
        }
        (files, found)
    }

    /// All that is in the writable memory of a process, and how many octets that is.
    pub(crate) fn find_in_memory(&self, process: &str) -> io::Result<(usize, Vec<Found>)> {
        let memory = File::open(format!("/proc/{process}/mem"))?;
        let maps = fs::read_to_string(format!("/proc/{process}/maps"))?;
        let (mut octets, mut found) = (0, Vec::new());
        let longest = self.needles.iter().map(|(_, needle)| needle.len()).max().unwrap_or(0);
        let mut chunk = vec![0; CHUNK + longest];
        for line in maps.lines() {
            let Some(Region { start, end, name }) = Region::writable(line) else { continue };
            let mut at = start;
            while at < end {
                // Overlapping, so that nothing is missed at the borders.
                let wanted = chunk.len().min((end - at) as usize);
                let Ok(read) = memory.read_at(&mut chunk[..wanted], at) else { break };
                found.extend(self.find_in(&chunk[..read], name, at));
                octets += read.min(CHUNK);
                at += CHUNK as u64;
            }
        }
        found.sort();
        found.dedup();
        Ok((octets, found))
    }
}

fn first_two(stem: &[u8; STEM]) -> usize {
    usize::from(stem[0]) << 8 | usize::from(stem[1])
}

struct Region<'a> {
    start: u64,
    end: u64,
    name: &'a str,
}

impl<'a> Region<'a> {
    /// From a line of `/proc/<process>/maps`: what cannot be written holds the program, not its data.
    fn writable(line: &'a str) -> Option<Self> {
        let mut words = line.split_whitespace();
        let (start, end) = words.next()?.split_once('-')?;
        let readable_and_writable = words.next()?.starts_with("rw");
        let name = words.nth(3).unwrap_or("anonymous");
        let address = |text| u64::from_str_radix(text, 16).ok();
        readable_and_writable.then_some(Self { start: address(start)?, end: address(end)?, name })
    }
}
