//! How one cycle is shared out: first in bits, as if key could be cut anywhere, then in whole keys.

use std::cmp::Reverse;

/// What one service may get in a cycle, and what it gets.
#[derive(Clone, Debug)]
pub(super) struct Claim {
    pub(super) weight: u64,
    pub(super) chunk: u64,
    /// The most it may get: whole keys.
    pub(super) limit: u64,
    /// The most it can be entitled to in this cycle, in bits.
    pub(super) room: u64,
    /// What it should get, in bits.
    pub(super) entitled: u64,
    /// How far it is behind from earlier cycles (ahead, below zero), in bits.
    pub(super) deficit: i64,
    /// What it gets: whole keys.
    pub(super) given: u64,
}

impl Claim {
    /// How far it is behind now.
    pub(super) fn behind(&self) -> i128 {
        i128::from(self.entitled) + i128::from(self.deficit) - i128::from(self.given)
    }

    /// The whole keys that bring it up to what it should have.
    pub(super) fn due(&self) -> u64 {
        let behind = u64::try_from(self.behind()).unwrap_or(0);
        (self.given.saturating_add(behind - behind % self.chunk)).min(self.limit)
    }
}

/// Entitles claims to `available` bits by weight, none to more than `most` of it in this call; says how many are left.
///
/// Claims with the same weight and room are entitled to the same; fewer bits than there are claims may be left for that.
pub(super) fn entitle(mut available: u64, claims: &mut [Claim], most: impl Fn(usize, &Claim) -> u64) -> u64 {
    let wide = u128::from;
    let mut open: Vec<_> = (0..claims.len()).map(|at| (at, most(at, &claims[at]))).filter(|&(_, room)| room > 0).collect();
    // Those that their share fills soonest come first.
    open.sort_by(|&(a, a_room), &(b, b_room)| {
        (wide(a_room) * wide(claims[b].weight)).cmp(&(wide(b_room) * wide(claims[a].weight)))
    });
    let mut weights: u128 = open.iter().map(|&(at, _)| wide(claims[at].weight)).sum();
    let mut rest = open.iter().peekable();
    while let Some(&(at, room)) = rest.next_if(|&&(at, room)| wide(room) * weights <= wide(available) * wide(claims[at].weight)) {
        claims[at].entitled += room;
        available -= room;
        weights -= wide(claims[at].weight);
    }
    // None of these is filled by its share.
    let all = available;
    for &(at, _) in rest {
        let share = (wide(all) * wide(claims[at].weight) / weights) as u64;
        claims[at].entitled += share;
        available -= share;
    }
    available
}

/// Gives whole keys out of `available` bits, until each claim has what `most` says in all; says how many bits are left. They are
/// too few for a key of any claim that has room.
///
/// Each gets its share by weight as far as that goes into keys; then who is furthest behind gets a key more; then the same again
/// among those who could take one still. No loop depends on how many bits or keys there are: each round but the last leaves a
/// claim without room, or with keys larger than what is left.
pub(super) fn give(mut available: u64, claims: &mut [Claim], most: impl Fn(&Claim) -> u64) -> u64 {
    let most: Vec<_> = claims.iter().map(most).collect();
    loop {
        let room = |at: usize, claim: &Claim| most[at].saturating_sub(claim.given);
        let fits = |at: usize, claim: &Claim, available: u64| claim.chunk <= room(at, claim).min(available);
        let mut open: Vec<_> = (0..claims.len()).filter(|&at| fits(at, &claims[at], available)).collect();
        if open.is_empty() {
            return available;
        }
        let mut shares: Vec<_> = claims.iter().map(|claim| Claim { entitled: 0, ..claim.clone() }).collect();
        entitle(available, &mut shares, |at, claim| if fits(at, claim, available) { room(at, claim) } else { 0 });
        for &at in &open {
            let share = shares[at].entitled;
            let share = share - share % claims[at].chunk;
            claims[at].given += share;
            available -= share;
        }
        open.sort_by_key(|&at| (Reverse(claims[at].behind()), claims[at].given, at));
        for at in open {
            if fits(at, &claims[at], available) {
                claims[at].given += claims[at].chunk;
                available -= claims[at].chunk;
            }
        }
    }
}
