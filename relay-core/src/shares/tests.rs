use std::collections::HashSet;

use itu_y3803::KeySize;
use proptest::collection::vec;
use proptest::prelude::*;

use super::*;

const CONTEXT: &[u8] = b"key 7 from north to south";

fn sharing(needed: u8, of: u8) -> Sharing {
    Sharing::new(needed, of).expect("possible")
}

fn generator(mut state: u64) -> impl FnMut(&mut [u8]) {
    move |out| {
        out.fill_with(|| {
            state = state.wrapping_mul(6_364_136_223_846_793_005).wrapping_add(1_442_695_040_888_963_407);
            (state >> 56) as u8
        });
    }
}

fn secret(octets: &[u8]) -> KeyMaterial {
    KeyMaterial::from_octets(octets.to_vec()).expect("whole octets")
}

fn shares(sharing: Sharing, octets: &[u8]) -> Vec<Share> {
    sharing.split(CONTEXT, &secret(octets), &mut generator(octets.len() as u64)).expect("whole octets")
}

fn key(hex: &str) -> Vec<u8> {
    let octet = |at: usize| u8::from_str_radix(&hex[at..at + 2], 16).expect("hexadecimal");
    (0..hex.len()).step_by(2).map(octet).collect()
}

/// The choices of `needed` out of what is there.
fn choices<T: Clone>(all: &[T], needed: u8) -> Vec<Vec<T>> {
    (0_u32..1 << all.len())
        .filter(|choice| choice.count_ones() == u32::from(needed))
        .map(|choice| (0..).zip(all).filter(|(at, _)| choice >> at & 1 == 1).map(|(_, one)| one.clone()).collect())
        .collect()
}

#[test]
fn vectors_of_two_of_two_and_two_of_three() {
    let whole = key("9abfd2db3b7a2b777e6d531b621619c4");
    for (sharing, drawn, shares) in [
        (
            sharing(2, 2),
            "050a64ede8bfb141aedb937eff435a84",
            &["050a64ede8bfb141aedb937eff435a84", "9fb5b636d3c59a36d0b6c0659d554340"][..],
        ),
        (
            sharing(2, 3),
            "cc7e9c668b71c8654a9725bd86e08f78",
            &["56c14ebdb00be31234fa76a6e4f696bc", "1943f1173698a0bdea58197a75cd1c34", "d53d6d71bde968d8a0cf3cc7f32d934c"],
        ),
    ] {
        let made = sharing.spread(&whole, &mut |out: &mut [u8]| out.copy_from_slice(&key(drawn)));
        let made: Vec<(u8, Vec<u8>)> = (1..).zip(made.iter().map(|share| share.to_vec())).collect();
        assert_eq!(made, (1..).zip(shares.iter().copied().map(key)).collect::<Vec<_>>(), "{sharing:?}");
        for chosen in choices(&made, 2) {
            let parts: Vec<Part<'_>> = chosen.iter().map(|(number, octets)| (*number, &octets[..])).collect();
            assert_eq!(*sharing.interpolate(&parts, 0).expect("of one length"), whole, "{sharing:?}");
        }
    }
}

#[test]
fn a_share_is_32_octets_longer_than_the_key() {
    for share in shares(sharing(2, 3), &[7; 40]) {
        assert_eq!(share.material.size().octets(), 40 + CHECK_OCTETS);
    }
}

#[test]
fn impossible_sharings_are_refused() {
    for (needed, of) in [(0, 0), (0, 2), (3, 2), (2, MAX_SHARES + 1), (u8::MAX, u8::MAX)] {
        assert_eq!(Sharing::new(needed, of), None, "{needed} of {of}");
    }
    assert!(Sharing::new(MAX_SHARES, MAX_SHARES).is_some());
    let odd = KeyMaterial::new(vec![0, 0], KeySize::from_bits(9).expect("not zero")).expect("fits");
    assert_eq!(sharing(2, 2).split(CONTEXT, &odd, &mut generator(1)).expect_err("not whole"), NotShareable);
}

/// Each value of what is known to `needed - 1` paths comes about in equally many ways, whatever the secret: an octet stands
/// for all, since octets do not mix.
#[test]
fn one_share_too_few_tells_nothing() {
    for (needed, of) in [(2, 2), (2, 3), (3, 3), (3, 4)] {
        let sharing = sharing(needed, of);
        for secret in [0, 1, 0x80, 0xff] {
            let mut seen = vec![HashSet::new(); usize::from(of)];
            for drawn in 0_u32..1 << (8 * (needed - 1)) {
                let mut octets = drawn.to_le_bytes().into_iter();
                let mut random = |out: &mut [u8]| out.fill_with(|| octets.next().expect("as many as drawn"));
                let made = sharing.spread(&[secret], &mut random);
                for (left_out, seen) in (0..).zip(&mut seen) {
                    let others = (0..).zip(&made).filter(|(at, _)| *at != left_out);
                    let known: Vec<u8> = others.map(|(_, share)| share[0]).take(usize::from(needed) - 1).collect();
                    seen.insert(known);
                }
            }
            for seen in seen {
                assert_eq!(seen.len(), 1 << (8 * (needed - 1)), "{needed} of {of}");
            }
        }
    }
}

#[test]
fn numbers_are_checked() {
    let two_of_three = sharing(2, 3);
    let combine = |numbers: &[u8]| {
        let share = |&number: &u8| Share { number, material: secret(&[1; 48]) };
        two_of_three.combine(CONTEXT, &numbers.iter().map(share).collect::<Vec<_>>()).expect_err("wrong")
    };
    assert_eq!(combine(&[]), CombineError::TooFew);
    assert_eq!(combine(&[2]), CombineError::TooFew);
    assert_eq!(combine(&[2, 2]), CombineError::Twice(2));
    assert_eq!(combine(&[1, 3, 2, 3]), CombineError::Twice(3));
    assert_eq!(combine(&[0, 1]), CombineError::Number(0));
    assert_eq!(combine(&[1, 4]), CombineError::Number(4));
    assert_eq!(combine(&[1, 2]), CombineError::Wrong);
}

#[test]
fn another_context_gives_no_key() {
    for sharing in [sharing(1, 1), sharing(2, 2), sharing(2, 3), sharing(3, 3)] {
        let made = shares(sharing, &[7; 32]);
        for other in [&b"key 8 from north to south"[..], b"", b"key 7 from north to south "] {
            assert_eq!(sharing.combine(other, &made).expect_err("another context"), CombineError::Wrong);
        }
        assert!(sharing.combine(CONTEXT, &made).is_ok());
    }
}

#[test]
fn another_sharing_gives_no_other_key() {
    for (here, there) in [(sharing(2, 2), sharing(2, 3)), (sharing(2, 3), sharing(2, 2)), (sharing(3, 4), sharing(2, 4))] {
        let made = shares(here, &[7; 32]);
        let fewer = &made[..made.len().min(usize::from(there.of))];
        assert_eq!(there.combine(CONTEXT, fewer).expect_err("of another sharing"), CombineError::Wrong, "{here:?} {there:?}");
    }
    // The exclusive or of all three is the secret in both; it is the right one.
    let combined = sharing(3, 3).combine(CONTEXT, &shares(sharing(2, 3), &[7; 32])).expect("equal by chance");
    assert_eq!(combined.secret.expose_secret(), [7; 32]);
}

#[test]
fn shares_of_two_keys_do_not_mix() {
    for sharing in [sharing(2, 2), sharing(2, 3), sharing(3, 4)] {
        let mut made = shares(sharing, &[7; 32]);
        let mut again = sharing.split(CONTEXT, &secret(&[7; 32]), &mut generator(99)).expect("whole octets");
        made.truncate(usize::from(sharing.needed));
        std::mem::swap(&mut made[0], &mut again[0]);
        assert_eq!(sharing.combine(CONTEXT, &made).expect_err("of two"), CombineError::Wrong);
    }
}

#[test]
fn shares_of_other_lengths_are_wrong_never_cut() {
    for length in [1, 47, 49, 64] {
        let sharing = sharing(2, 3);
        let mut made = shares(sharing, &[7; 16]);
        let octets: Vec<u8> = made[0].material.expose_secret().iter().copied().chain([0; 16]).collect();
        made[0].material = secret(&octets[..length]);
        let combined = sharing.combine(CONTEXT, &made).expect("two are right");
        assert_eq!(combined.wrong, [1]);
        assert_eq!(combined.secret.expose_secret(), [7; 16]);
        made.pop();
        assert_eq!(sharing.combine(CONTEXT, &made).expect_err("one is right"), CombineError::Wrong);
    }
    // all of one length, but of no key
    for length in [1, 31, 32, 33, 64] {
        let share = |number| Share { number, material: secret(&vec![0; length]) };
        assert_eq!(sharing(2, 2).combine(CONTEXT, &[share(1), share(2)]).expect_err("no key"), CombineError::Wrong);
    }
}

#[test]
fn every_changed_bit_is_noticed() {
    for sharing in [sharing(2, 2), sharing(2, 3), sharing(1, 2)] {
        for bit in 0..8 * 48 {
            let mut made = shares(sharing, &[7; 16]);
            let mut octets = made[0].material.expose_secret().to_vec();
            octets[bit / 8] ^= 1 << (bit % 8);
            made[0].material = secret(&octets);
            let combined = sharing.combine(CONTEXT, &made);
            if sharing.needed == sharing.of {
                assert_eq!(combined.expect_err("changed"), CombineError::Wrong, "{bit}");
            } else {
                let combined = combined.expect("enough are right");
                assert_eq!((combined.secret.expose_secret(), &combined.wrong[..]), (&[7; 16][..], &[1][..]), "{bit}");
            }
        }
    }
}

fn any_sharing() -> impl Strategy<Value = Sharing> {
    (1..=MAX_SHARES).prop_flat_map(|of| (1..=of).prop_map(move |needed| sharing(needed, of)))
}

proptest! {
    #[test]
    fn whatever_is_enough_gives_the_key(sharing in any_sharing(), octets in vec(any::<u8>(), 1..80), left: u8) {
        let mut made = shares(sharing, &octets);
        let all = made.len();
        let mut at = 0;
        made.retain(|_| {
            at += 1;
            left >> (at - 1) & 1 == 1
        });
        made.reverse();
        let combined = sharing.combine(CONTEXT, &made);
        if made.len() >= usize::from(sharing.needed) {
            let combined = combined.expect("enough");
            prop_assert_eq!(combined.secret.expose_secret(), &octets[..]);
            prop_assert!(combined.wrong.is_empty());
        } else {
            prop_assert!(all > made.len());
            prop_assert_eq!(combined.expect_err("too few"), CombineError::TooFew);
        }
    }

    /// For any secret there are shares like those that one path too few has seen.
    #[test]
    fn any_secret_agrees_with_one_share_too_few(
        sharing in any_sharing(),
        octets in vec(any::<u8>(), 16),
        other in vec(any::<u8>(), 16),
        seed: u64,
    ) {
        let made: Vec<(u8, Vec<u8>)> =
            (1..).zip(sharing.spread(&octets, &mut generator(seed)).iter().map(|share| share.to_vec())).collect();
        for known in choices(&made, sharing.needed - 1) {
            let all: Vec<(u8, Vec<u8>)> = if sharing.needed == sharing.of {
                let missing = (1..=sharing.of).find(|number| known.iter().all(|(known, _)| known != number)).expect("one");
                let mut last = other.clone();
                known.iter().for_each(|(_, share)| add(&mut last, 1, share));
                known.into_iter().chain([(missing, last)]).collect()
            } else {
                let points: Vec<Part<'_>> =
                    known.iter().map(|(number, share)| (*number, &share[..])).chain([(0, &other[..])]).collect();
                (1..=sharing.of).map(|at| (at, sharing.interpolate(&points, at).expect("of one length").to_vec())).collect()
            };
            for chosen in choices(&all, sharing.needed) {
                let chosen: Vec<Part<'_>> = chosen.iter().map(|(number, share)| (*number, &share[..])).collect();
                prop_assert_eq!(&*sharing.interpolate(&chosen, 0).expect("of one length"), &other);
            }
        }
    }

    /// Whatever is done to them, shares give the key that was shared or none; and that key, if enough were left alone.
    #[test]
    fn wrong_shares_never_give_another_key(
        sharing in any_sharing(),
        octets in vec(any::<u8>(), 1..80),
        changes in vec(proptest::option::weighted(0.3, vec(any::<u8>(), 0..120)), usize::from(MAX_SHARES)),
    ) {
        let mut made = shares(sharing, &octets);
        let mut changed = Vec::new();
        for (share, change) in made.iter_mut().zip(&changes) {
            let mut octets = share.material.expose_secret().to_vec();
            match change.as_deref() {
                None => continue,
                Some([]) => octets.truncate(octets.len() - 1),
                Some(change) => octets.iter_mut().zip(change).for_each(|(octet, change)| *octet ^= change),
            }
            if octets != share.material.expose_secret() {
                changed.push(share.number);
                share.material = secret(&octets);
            }
        }
        match sharing.combine(CONTEXT, &made) {
            Ok(combined) => {
                prop_assert_eq!(combined.secret.expose_secret(), &octets[..]);
                prop_assert_eq!(combined.wrong, changed);
            }
            Err(error) => {
                prop_assert_eq!(error, CombineError::Wrong);
                prop_assert!(made.len() - changed.len() < usize::from(sharing.needed));
            }
        }
    }
}
