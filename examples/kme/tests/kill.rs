//! KMEs are killed (SIGKILL) and started again, at random moments and under load, and whatever they answered must hold.
//!
//! The test keeps a ledger of every answer. Of the keys that masters were given,
//! * none comes twice, nor any 8 octets of one, whoever is given it;
//! * every slave can collect each, once, with the same octets, at once or after many crashes;
//! * only a fetch that a crash cut off may have used a key up without the slave having seen it. Those are counted.
//!
//! `KILLS` is the number of kills for each durability, `SEED` repeats the choices (not the moments) of a run:
//!
//! ```text
//! KILLS=2000 cargo test --release -p kme --test kill -- --nocapture
//! ```

#![allow(missing_docs)]

mod support;

use std::collections::HashSet;
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering::SeqCst};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::{Duration, Instant};

use base64ct::{Base64, Encoding};
use serde_json::json;
use support::{Answer, Kme, Sae, Seeded, Settings, Site};
use tokio::task::JoinSet;
use tokio::time::sleep;

const USUAL_KILLS: u64 = 24;
const SIZES: [u32; 7] = [64, 128, 256, 256, 512, 1000, 4096];
const COLLECTORS: u64 = 12;
/// Masters wait while so many fetches are to come.
const BACKLOG: usize = 1000;
/// Who draws for whom: across the link in both ways, for several slaves, and within one KME.
const FLOWS: [(&str, &[&str]); 6] = [
    ("red", &["blue"]),
    ("red", &["blue", "green"]),
    ("white", &["grey", "red"]),
    ("blue", &["red"]),
    ("green", &["white", "grey"]),
    ("grey", &["black"]),
];
/// Refills quickly after a crash, and holds little, so that blocks begin and end all the time.
const POOL: &str = "\
link_low = 8
link_high = 16
pool_low = 4096
pool_high = 8192
lease_octets = 4096
repeat = \"100ms\"
give_up = \"2s\"
patience = \"500ms\"
draw_pause = \"20ms\"";

/// Nothing ahead: each request below takes a whole block, bound for it a moment ago.
const BARE_POOL: &str = "\
link_low = 8
link_high = 16
pool_low = 1
pool_high = 1
lease_octets = 1
repeat = \"100ms\"
give_up = \"2s\"
draw_pause = \"20ms\"";

#[test]
fn nothing_that_was_told_is_lost_or_told_twice_by_crashes_with_leases() {
    survive("lease");
}

#[test]
fn nothing_that_was_told_is_lost_or_told_twice_by_crashes_with_strict_durability() {
    survive("strict");
}

/// The moments that random kills seldom meet: right after an answer, while nothing else happens that would make it durable.
#[tokio::test]
async fn an_answer_holds_when_a_kme_is_killed_at_that_very_moment() {
    for durability in ["lease", "strict"] {
        let site = Site::start(Settings { durability, pool: BARE_POOL, ..Settings::default() });
        let (red, blue) = (site.sae("red"), site.sae("blue"));
        let restart = |victims: &[Kme]| {
            victims.iter().for_each(|&kme| site.kill_kme(kme));
            victims.iter().for_each(|&kme| site.spawn_kme(kme));
            victims.iter().for_each(|&kme| site.await_kme(kme));
        };
        let mut given = HashSet::new();
        let rounds = number("KILLS").unwrap_or(USUAL_KILLS).div_ceil(3);
        for round in 0..rounds {
            let victims: &[Kme] = match round % 3 {
                0 => &[Kme::South],
                1 => &Kme::BOTH,
                _ => &[Kme::North],
            };
            let (now_red, now_blue) = (red.reconnected(), blue.reconnected());
            let drawn = now_red.draw("blue", json!({ "number": 2, "size": 4096 })).await;
            restart(victims);
            assert!(drawn.iter().all(|(id, key)| given.insert(id.clone()) && given.insert(key.clone())), "{durability} {round}");
            let ids: Vec<&str> = drawn.iter().map(|(id, _)| id.as_str()).collect();
            let collected = now_blue.reconnected().collect("red", &ids).await;
            restart(victims);
            assert!(collected.keys() == drawn, "{durability} {round}");
            refused_for_all(&now_blue.reconnected().collect("red", &ids).await, &ids);
        }
    }
}

fn survive(durability: &'static str) {
    let kills = number("KILLS").unwrap_or(USUAL_KILLS);
    let seed = number("SEED").unwrap_or_else(|| u64::from(std::process::id()));
    println!("{durability}: KILLS={kills} SEED={seed}");
    let site = Site::start(Settings { durability, pool: POOL, ..Settings::default() });
    let run = Arc::new(Run {
        site,
        generations: Default::default(),
        done: AtomicBool::new(false),
        ledger: Mutex::new(Ledger { masters: FLOWS.len(), ..Ledger::default() }),
    });
    let killer = {
        let run = Arc::clone(&run);
        std::thread::spawn(move || run.kill(kills, Seeded::new(seed)))
    };
    let runtime = tokio::runtime::Builder::new_multi_thread().worker_threads(2).enable_all().build().expect("a runtime");
    runtime.block_on(async {
        let mut tasks = JoinSet::new();
        for (number, (master, slaves)) in (1..).zip(FLOWS) {
            tasks.spawn(Arc::clone(&run).draw(master, slaves, Seeded::new(seed ^ number << 32)));
        }
        for number in 0..COLLECTORS {
            tasks.spawn(Arc::clone(&run).collect_all(Seeded::new(seed ^ (100 + number) << 32)));
        }
        let _over = Over(&run);
        while let Some(ended) = tasks.join_next().await {
            ended.expect("every answer was right");
        }
        assert!(killer.join().expect("every KME came back") >= kills);
        run.serves_on().await;
    });
    let ledger = run.ledger();
    println!(
        "{durability}: {kills} kills, {} keys acknowledged in {} answers ({} answers lost), {} collected, {} cut off",
        ledger.acknowledged, ledger.answers, ledger.answers_lost, ledger.collected, ledger.cut_off
    );
    assert_eq!(ledger.due, ledger.collected + ledger.cut_off, "each key by each of its slaves");
    assert!(ledger.answers > kills && ledger.collected > ledger.cut_off, "there was load");
}

fn number(variable: &str) -> Option<u64> {
    std::env::var(variable).ok().map(|value| value.parse().unwrap_or_else(|_| panic!("{variable} is a number")))
}

/// Ends the killer, too, when a check fails.
struct Over<'a>(&'a Run);

impl Drop for Over<'_> {
    fn drop(&mut self) {
        self.0.done.store(true, SeqCst);
    }
}

struct Run {
    site: Site,
    /// Of each KME: even while it serves, odd from before it is killed until it is ready again.
    generations: [AtomicU64; 2],
    /// No more kills, no more draws; what is left is collected.
    done: AtomicBool,
    ledger: Mutex<Ledger>,
}

#[derive(Default)]
struct Ledger {
    ids: HashSet<String>,
    /// Every 8 octets of every key that a master was given. Keys start at such borders within what the KMEs share.
    stretches: HashSet<u64>,
    fetches: Vec<Fetch>,
    /// Masters that may still draw.
    masters: usize,
    answers: u64,
    answers_lost: u64,
    acknowledged: u64,
    /// Each key counted once for each slave; likewise the next two.
    due: u64,
    collected: u64,
    cut_off: u64,
}

/// Keys that a slave has still to collect, in one request.
struct Fetch {
    slave: &'static str,
    master: &'static str,
    keys: Vec<(String, String)>,
    not_before: Instant,
}

/// What a request met.
enum Met {
    Answer(Answer),
    /// The crash of the KME. It may have heard the request if `sent`.
    Crash {
        sent: bool,
    },
}

impl Run {
    fn ledger(&self) -> MutexGuard<'_, Ledger> {
        // After a failed check its reason is to be seen, not that of others.
        self.ledger.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Never held across an await.
    fn count(&self, change: impl FnOnce(&mut Ledger)) {
        change(&mut self.ledger());
    }

    fn is_done(&self) -> bool {
        self.done.load(SeqCst)
    }

    fn generation(&self, kme: Kme) -> u64 {
        self.generations[kme as usize].load(SeqCst)
    }

    /// Kills `kills` times, one KME or both, and starts them again. Returns how often it did.
    fn kill(&self, kills: u64, mut random: Seeded) -> u64 {
        let begun = Instant::now();
        let mut killed = 0;
        while killed < kills && !self.is_done() {
            std::thread::sleep(random.millis(100, 1500));
            let victims: &[Kme] = match random.below(5) {
                0 | 1 => &[Kme::North],
                2 | 3 => &[Kme::South],
                _ => &Kme::BOTH,
            };
            for &kme in victims {
                assert!(self.site.is_running(kme), "{} ended by itself", kme.id());
                self.generations[kme as usize].fetch_add(1, SeqCst);
                self.site.kill_kme(kme);
                killed += 1;
            }
            if random.one_in(3) {
                std::thread::sleep(random.millis(1, 700));
            }
            for &kme in victims {
                self.site.spawn_kme(kme);
                if random.one_in(4) {
                    // While it is coming up.
                    std::thread::sleep(random.millis(1, 300));
                    self.site.kill_kme(kme);
                    killed += 1;
                    self.site.spawn_kme(kme);
                }
            }
            for &kme in victims {
                self.site.await_kme(kme);
                self.generations[kme as usize].fetch_add(1, SeqCst);
            }
            if killed % 100 < victims.len() as u64 {
                let ledger = self.ledger();
                println!(
                    "{killed} kills in {} s: {} keys, {} collected, {} cut off, {} fetches to come",
                    begun.elapsed().as_secs(),
                    ledger.acknowledged,
                    ledger.collected,
                    ledger.cut_off,
                    ledger.fetches.len()
                );
            }
        }
        self.done.store(true, SeqCst);
        killed
    }

    /// A master that draws for these slaves until it is done.
    async fn draw(self: Arc<Self>, master: &'static str, slaves: &'static [&'static str], mut random: Seeded) {
        let mut client = Client::new(&self, master);
        while !self.is_done() {
            if self.ledger().fetches.len() > BACKLOG {
                sleep(Duration::from_millis(100)).await;
                continue;
            }
            let number = 1 + random.below(6);
            let request = json!({ "number": number, "size": random.pick(&SIZES), "additional_slave_SAE_IDs": slaves[1..] });
            let path = format!("{}/enc_keys", slaves[0]);
            match client.post(&self, &path, request.to_string()).await {
                Met::Answer(answer) if answer.status == 200 => {
                    let keys = answer.keys();
                    assert_eq!(keys.len() as u64, number);
                    self.note(master, slaves, keys, &mut random);
                }
                Met::Answer(answer) => assert_eq!(answer.status, 503, "{master} {path}: {answer:?}"),
                Met::Crash { sent } => self.count(|ledger| ledger.answers_lost += u64::from(sent)),
            }
            sleep(random.millis(1, 60)).await;
        }
        self.count(|ledger| ledger.masters -= 1);
    }

    /// Enters keys that a master was given, and shares the fetches out.
    fn note(&self, master: &'static str, slaves: &'static [&'static str], mut keys: Vec<(String, String)>, random: &mut Seeded) {
        let mut ledger = self.ledger();
        for (id, key) in &keys {
            assert!(ledger.ids.insert(id.clone()), "{master} was given {id}, which was given before");
            let octets = Base64::decode_vec(key).expect("base64");
            for stretch in octets.chunks_exact(8) {
                let stretch = u64::from_be_bytes(stretch.try_into().expect("8 octets"));
                assert!(ledger.stretches.insert(stretch), "{id}, for {master}, has octets that were given before");
            }
        }
        ledger.answers += 1;
        ledger.acknowledged += keys.len() as u64;
        for slave in slaves {
            ledger.due += keys.len() as u64;
            random.shuffle(&mut keys);
            let at_once = 1 + random.below(keys.len() as u64) as usize;
            for keys in keys.chunks(at_once) {
                let delay = if random.one_in(2) { Duration::ZERO } else { random.millis(1, 8000) };
                ledger.fetches.push(Fetch { slave, master, keys: keys.to_vec(), not_before: Instant::now() + delay });
            }
        }
    }

    /// Takes one fetch that is due, or tells whether one may come.
    fn next_fetch(&self, random: &mut Seeded) -> Result<Fetch, bool> {
        let done = self.is_done();
        let mut ledger = self.ledger();
        let now = Instant::now();
        let due: Vec<usize> =
            (0..ledger.fetches.len()).rev().filter(|&at| done || ledger.fetches[at].not_before <= now).take(64).collect();
        if due.is_empty() {
            return Err(ledger.masters > 0 || !ledger.fetches.is_empty());
        }
        Ok(ledger.fetches.swap_remove(random.pick(&due)))
    }

    /// Collects for all slaves until nothing is left.
    async fn collect_all(self: Arc<Self>, mut random: Seeded) {
        let mut clients = ["red", "white", "blue", "green", "grey", "black"].map(|sae| Client::new(&self, sae));
        loop {
            match self.next_fetch(&mut random) {
                Ok(fetch) => self.collect(&mut clients, &fetch, &mut random).await,
                Err(true) => sleep(Duration::from_millis(20)).await,
                Err(false) => return,
            }
        }
    }

    async fn collect(&self, clients: &mut [Client], fetch: &Fetch, random: &mut Seeded) {
        let Fetch { slave, master, keys, .. } = fetch;
        let path = format!("{master}/dec_keys");
        let ids: Vec<&str> = keys.iter().map(|(id, _)| id.as_str()).collect();
        let body = support::key_ids(&ids);
        if random.one_in(8) {
            self.others_get_nothing(clients, fetch, &body).await;
        }
        let client = clients.iter_mut().find(|client| client.sae.id == *slave).expect("a client");
        let mut unknown = false;
        let answer = loop {
            match client.post(self, &path, body.clone()).await {
                Met::Answer(answer) => break answer,
                Met::Crash { sent } => unknown |= sent,
            }
            sleep(random.millis(5, 100)).await;
        };
        if answer.status == 200 {
            let mut expected = keys.clone();
            let mut found = answer.keys();
            expected.sort();
            found.sort();
            let same_ids = expected.iter().map(|(id, _)| id).eq(found.iter().map(|(id, _)| id));
            assert!(same_ids && expected == found, "{slave} has other keys than {master}: {ids:?} (IDs alike: {same_ids})");
            self.count(|ledger| ledger.collected += keys.len() as u64);
        } else {
            refused_for_all(&answer, &ids);
            assert!(unknown, "{slave} cannot collect what {master} was given, and no fetch was cut off: {ids:?}");
            self.count(|ledger| ledger.cut_off += keys.len() as u64);
        }
        // Whatever happened: not once more.
        let again = loop {
            if let Met::Answer(answer) = client.post(self, &path, body.clone()).await {
                break answer;
            }
            sleep(random.millis(5, 100)).await;
        };
        refused_for_all(&again, &ids);
    }

    /// SAEs of the same KME that are no slaves of this master are not entitled; nor is the master itself.
    async fn others_get_nothing(&self, clients: &mut [Client], fetch: &Fetch, body: &str) {
        let kme = Kme::of(fetch.slave);
        let of_flow = |sae: &str| FLOWS.iter().any(|(master, slaves)| *master == fetch.master && slaves.contains(&sae));
        for client in clients.iter_mut().filter(|client| client.kme == kme && !of_flow(&client.sae.id)) {
            if let Met::Answer(answer) = client.post(self, &format!("{}/dec_keys", fetch.master), body.to_owned()).await {
                assert_eq!(answer.status, 401, "{} asks for the keys of {}: {answer:?}", client.sae.id, fetch.slave);
            }
        }
    }

    /// After all of that every flow works.
    async fn serves_on(&self) {
        for (master, slaves) in FLOWS {
            let request = json!({ "number": 3, "additional_slave_SAE_IDs": slaves[1..] });
            let drawn = self.site.sae(master).draw(slaves[0], request).await;
            let ids: Vec<&str> = drawn.iter().map(|(id, _)| id.as_str()).collect();
            for slave in slaves {
                assert!(self.site.sae(slave).collect(master, &ids).await.keys() == drawn, "{master} to {slave}");
            }
        }
    }
}

/// An SAE whose connections are to a KME that has not been killed since.
struct Client {
    sae: Sae,
    kme: Kme,
    generation: u64,
}

impl Client {
    fn new(run: &Run, sae: &'static str) -> Self {
        let kme = Kme::of(sae);
        Self { sae: run.site.sae(sae), kme, generation: run.generation(kme) }
    }

    async fn post(&mut self, run: &Run, path: &str, body: String) -> Met {
        use transport::client::ClientError::{Connect, ConnectTimedOut};
        let before = run.generation(self.kme);
        if self.generation != before {
            self.sae = self.sae.reconnected();
            self.generation = before;
        }
        match self.sae.try_post(path, body).await {
            Ok(answer) => Met::Answer(answer),
            Err(error) => {
                let crashed = before % 2 == 1 || run.generation(self.kme) != before;
                assert!(crashed, "{} POST {path}: {error}, and KME {} was not killed", self.sae.id, self.kme.id());
                Met::Crash { sent: !matches!(error, Connect(_) | ConnectTimedOut) }
            }
        }
    }
}

/// The mandated answer, and it names all keys: none is there any more.
fn refused_for_all(answer: &Answer, ids: &[&str]) {
    assert_eq!(answer.status, 400, "{answer:?}");
    assert_eq!(answer.message(), "one or more keys specified are not found on KME");
    let details = answer.json()["details"].as_array().map_or(0, Vec::len);
    assert_eq!(details, ids.len().min(8), "all or none: {answer:?}");
}
