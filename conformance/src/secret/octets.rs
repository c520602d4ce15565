//! Octets written one after the other, in text that nobody has learnt a key of.

use std::ops::Range;

use zeroize::Zeroizing;

use super::{decoded_leniently, is_uuid};

/// Octets that are a key, if they are written one after the other.
const ROW: usize = 8;

/// Hides octets written one by one, or a few at a time: `200, 1, 77…`, `c8:01:4d…`, `[[200],[1]…`, `\xc8\x01M…`, in text or in
/// JSON, whatever is between them. UUIDs stay readable.
pub(crate) fn without_octets_in_a_row(text: &str) -> String {
    without_words_in_a_row(&without_escapes_in_a_row(text))
}

fn without_words_in_a_row(text: &str) -> String {
    let mut shown = String::with_capacity(text.len());
    let (mut row, mut count, mut at) = (0..0, 0, 0);
    let mut end = |row: &mut Range<usize>, count: &mut usize, next: usize| {
        if *count >= ROW {
            shown.push_str(&format!("<{count} octets>"));
        } else {
            shown.push_str(&text[row.clone()]);
        }
        shown.push_str(&text[row.end..next]);
        (*row, *count) = (next..next, 0);
    };
    while let Some(start) = text[at..].find(|c: char| c.is_ascii_alphanumeric()).map(|found| at + found) {
        let uuid = text.get(start..start + 36).filter(|word| is_uuid(word));
        let length = text[start..].find(|c: char| !c.is_ascii_alphanumeric()).unwrap_or(text.len() - start);
        let word = uuid.unwrap_or(&text[start..start + length]);
        let octets = if uuid.is_some() { 0 } else { octets_of(word) };
        if octets == 0 || count == 0 || start - row.end > APART {
            end(&mut row, &mut count, start);
        }
        at = start + word.len();
        if octets > 0 {
            (row.end, count) = (at, count + octets);
        } else {
            end(&mut row, &mut count, at);
        }
    }
    end(&mut row, &mut count, text.len());
    shown
}

/// What is further apart does not belong together.
const APART: usize = 16;

/// How many octets a word stands for: a number up to 255, or hexadecimal digits in pairs, a few of them.
fn octets_of(word: &str) -> usize {
    if word.len() <= 3 && word.parse::<u8>().is_ok() {
        return 1;
    }
    let digits = without_prefix(word);
    let is_hexadecimal = digits.bytes().all(|octet| octet.is_ascii_hexdigit());
    match digits.len() {
        1 if digits.len() < word.len() && is_hexadecimal => 1,
        length @ 2..=16 if length % 2 == 0 && is_hexadecimal => length / 2,
        _ => 0,
    }
}

/// Escapes from which on they are taken for octets: a word in another language has one or two.
const ESCAPES: usize = 3;

/// Hides octets as programs print those that are no text, `\xc8\x01M\x03`: escapes, or characters with the numbers of octets, and
/// what stands for itself between them.
fn without_escapes_in_a_row(text: &str) -> String {
    let special = |c: char| matches!(c, '\\' | '\0'..='\x1f' | '\x7f'..='\u{ff}');
    let escapes: Vec<_> = text
        .match_indices(special)
        .filter_map(|(at, found)| Some(at..at + if found == "\\" { escape(&text[at..])? } else { found.len() }))
        .collect();
    let mut shown = String::with_capacity(text.len());
    let mut at = 0;
    // A letter of another language, as it stands, may be one.
    let is_letter = |unit: &Range<usize>| text[unit.clone()].chars().all(|c| c.is_whitespace() || c > '\u{9f}');
    let together = |one: &Range<usize>, next: &Range<usize>| {
        let between = &text[one.end..next.start];
        between.len() <= APART && (!is_letter(one) && !is_letter(next) || beside(between.chars()) == between.len())
    };
    for row in escapes.chunk_by(together) {
        if row.iter().all(is_letter) {
            continue;
        }
        let (Some(first), Some(last)) = (row.first(), row.last()) else { continue };
        // As far as no quote or bracket is around it, what is next to it belongs to it.
        let (before, after) = (beside(text[at..first.start].chars().rev()), beside(text[last.end..].chars()));
        let (start, end) = (first.start - before, last.end + after);
        let between = row.windows(2).map(|pair| text[pair[0].end..pair[1].start].chars());
        let count = before + row.len() + between.flatten().filter(|c| *c != '\\').count() + after;
        if row.len() >= ESCAPES && count >= ROW {
            shown.push_str(&text[at..start]);
            shown.push_str(&format!("<{count} octets>"));
            at = end;
        }
    }
    shown.push_str(&text[at..]);
    shown
}

/// How many characters next to an escape stand for octets themselves; they are ASCII.
fn beside(text: impl Iterator<Item = char>) -> usize {
    text.take(APART).take_while(|c| c.is_ascii_graphic() && !"\"'`()[]{}<>".contains(*c)).count()
}

/// The length of an escape for one octet at the beginning of a text: `\xc8`, `\u00c8`, `\u{c8}`, `\310`.
fn escape(text: &str) -> Option<usize> {
    let is =
        |range: Range<usize>, digit: fn(&u8) -> bool| text.as_bytes().get(range).is_some_and(|digits| digits.iter().all(digit));
    if text.starts_with("\\x") && is(2..4, u8::is_ascii_hexdigit) {
        return Some(4);
    }
    if text.starts_with("\\u00") && is(4..6, u8::is_ascii_hexdigit) {
        return Some(6);
    }
    if let Some((digits, _)) = text.strip_prefix("\\u{").and_then(|rest| rest.split_once('}')) {
        return u8::from_str_radix(digits, 16).ok().map(|_| digits.len() + 4);
    }
    (is(1..2, |digit| (b'0'..=b'3').contains(digit)) && is(2..4, |digit| (b'0'..=b'7').contains(digit))).then_some(4)
}

/// Octets that are a key even where a mistake would be held against a peer: 128 bits.
const KEY: usize = 16;

/// Whether so many octets stand in a text, all written alike, with the same between them: more than masking asks for, as dates,
/// addresses and versions next to each other are no key. Nor are sizes in ascending order, or what is called a fingerprint.
pub(crate) fn has_key_octet_by_octet(text: &str) -> bool {
    let decimal = |word: &str| (word.len() <= 3).then(|| word.parse::<u8>().ok()).flatten();
    let hexadecimal = |word: &str| {
        let digits = without_prefix(word);
        let is_octet = digits.len() == 2 || digits.len() == 1 && digits.len() < word.len();
        is_octet.then(|| u8::from_str_radix(digits, 16).ok()).flatten()
    };
    has_row(text, decimal) || has_row(text, hexadecimal)
}

fn has_row(text: &str, octet: impl Fn(&str) -> Option<u8>) -> bool {
    let (mut start, mut last, mut end, mut sign) = (0, 0, 0, "");
    let mut row: Zeroizing<Vec<u8>> = Zeroizing::new(Vec::new());
    for word in text.split(|c: char| !c.is_ascii_alphanumeric()).filter(|word| !word.is_empty()) {
        let at = word.as_ptr().addr() - text.as_ptr().addr();
        // Java has negative ones.
        let between = text[end..at].trim_end_matches('-');
        let value = octet(word);
        if value.is_none() || row.is_empty() || between.len() > APART {
            row.clear();
            start = at;
        } else if row.len() > 1 && between != sign {
            // What comes before a list, such as its length, is none of it.
            let kept = row.len() - 1;
            row.drain(..kept);
            start = last;
        }
        if row.len() == 1 {
            sign = between;
        }
        row.extend(value);
        (last, end) = (at, at + word.len());
        let sizes = |row: &[u8]| row.is_sorted() || row.is_sorted_by(|one, next| one >= next);
        let is_mixed = row.len().checked_sub(KEY).is_some_and(|from| !sizes(&row[from..]));
        if is_mixed && !is_called_other(&text[..start]) {
            return true;
        }
    }
    false
}

/// Whether what comes next is no key, by what is said of it: of a certificate, errors quote such, and of a key its ID.
fn is_called_other(before: &str) -> bool {
    let said: String =
        before.chars().rev().take(40).collect::<Vec<_>>().into_iter().rev().collect::<String>().to_ascii_lowercase();
    let words: Vec<_> = said.split(|c: char| !c.is_ascii_alphanumeric()).filter(|word| !word.is_empty()).collect();
    let names = ["serial", "serialnumber", "sha1", "sha256", "sha", "id", "ids", "identifier", "uuid", "keyid"];
    let other = words.iter().rposition(|word| names.contains(word) || word.ends_with("keyidentifier"));
    words.iter().any(|word| ["fingerprint", "thumbprint"].contains(word))
        || other.is_some_and(|other| !words[other..].contains(&"key"))
}

/// The octets that the words of a text stand for, as numbers and in hexadecimal.
pub(super) fn spelt_octets(text: &str) -> [Zeroizing<Vec<u8>>; 2] {
    let words = || text.split(|c: char| !c.is_ascii_alphanumeric() && c != '-');
    // Java has negative ones.
    let signed = |word: &str| word.parse::<i8>().map(|octet| octet.to_be_bytes()[0]);
    let numbers = words().filter_map(|word| word.parse().or_else(|_| signed(word)).ok());
    let hexadecimal = words().flat_map(|word| word.split('-')).filter_map(|word| {
        let digits = without_prefix(word);
        match digits.len() {
            1 if digits.len() < word.len() => u8::from_str_radix(digits, 16).ok().map(|octet| vec![octet]),
            length => decoded_leniently(digits).filter(|octets| octets.len() * 2 == length).map(|octets| octets.to_vec()),
        }
    });
    [Zeroizing::new(numbers.collect()), Zeroizing::new(hexadecimal.flatten().collect())]
}

/// Hexadecimal digits as they stand in `0xc8`, `\xc8` and `\u00c8`.
fn without_prefix(word: &str) -> &str {
    ["0x", "0X", "x", "u00"].iter().find_map(|prefix| word.strip_prefix(prefix)).unwrap_or(word)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn octets_in_a_row_are_hidden_however_they_are_written() {
        for row in [
            "200,1,77,3,9,250,6,61",
            "200, 1, 77, 3, 9, 250, 6, 61",
            "-56, 1, 77, 3, 9, -6, 6, 61",
            "200 1 77 3 9 250 6 61",
            "c8:01:4d:03:09:fa:06:3d",
            "C8-01-4D-03-09-FA-06-3D",
            "c8 01 4d 03 09 fa 06 3d",
            "c801 4d03 09fa 063d",
            "c8014d03 09fa063d",
            "c8014d03:09fa063d",
            "0xc8, 0x1, 0x4d, 0x3, 0x9, 0xfa, 0x6, 0x3d",
            "\\xc8\\x01\\x4d\\x03\\x09\\xfa\\x06\\x3d",
            "200],[1],[77],[3],[9],[250],[6],[61",
            "c8\",\"01\",\"4d\",\"03\",\"09\",\"fa\",\"06\",\"3d",
            "0\":200,\"1\":1,\"2\":77,\"3\":3,\"4\":9,\"5\":250,\"6\":6,\"7\":61",
        ] {
            let shown = without_octets_in_a_row(&format!("cannot encode [{row}] é here"));
            let (before, after) = shown.split_once("octets>").unwrap_or_else(|| panic!("{row} is shown: {shown}"));
            assert!(before.starts_with("cannot encode [") && before.len() < 25 && after == "] é here", "{shown}");
        }
        for text in [
            "{\"message\":\"size shall be a multiple of 8\",\"details\":[{\"key\":\"size\",\"value\":\"257\"}]}",
            "0957365e-4b8d-4f95-8a8f-de3d60199dbb, 0957365e-4b8d-4f95-8a8f-de3d60199dbb",
            "64, 128, 192, 256 or 1024 bits; not 7",
            "at 2026-11-29 20:38:40, by 192.0.2.17",
            "<8 octets, fp 9c41ab12>",
            "",
        ] {
            assert_eq!(without_octets_in_a_row(text), text);
        }
    }

    #[test]
    fn octets_printed_as_text_with_escapes_are_hidden() {
        for row in [
            // Python, Rust and C, with the key's own letters in it; JSON, also twice.
            r"\xc8\x01M\x03\t\xfa\x06=",
            r"M\xc8\x01~\x03\n\xfa\x06==",
            r"\310\001M\003\t\372\006=",
            r"\u00c8\u0001M\u0003\t\u00fa\u0006=",
            r"\\xc8\\x01M\\x03\\t\\xfa\\x06=",
            r"\xfbcanary-\xff-of-qkdspec-\xfe!!",
            r"\u{c8}\u{1}M\u{3}\t\u{fa}\u{6}=",
            "\u{c8}\u{1}M\u{3}\t\u{fa}\u{6}=",
            "é\u{82}·\u{e}î\u{7f}ab=",
        ] {
            let shown = without_octets_in_a_row(&format!("cannot encode [b'{row}'] é here"));
            assert!(shown.starts_with("cannot encode [b'<") && shown.ends_with(" octets>'] é here"), "{shown}");
        }
        for text in [
            r#"{\"size\":\"257\",\"max\":8}\n"#,
            r"d\u00e9j\u00e0 vu",
            r"C:\x12\new",
            "Gerät für Schlüssel größer als möglich\nköniglich",
            r"a \x, \u00, \01 é\",
        ] {
            assert_eq!(without_octets_in_a_row(text), text);
        }
    }

    #[test]
    fn sixteen_octets_written_alike_are_a_key_and_other_rows_are_not() {
        let key: [u8; 16] = [200, 1, 77, 3, 9, 250, 6, 61, 17, 0, 99, 128, 4, 5, 33, 254];
        let hex = |before: &str, between: &str| key.map(|octet| format!("{before}{octet:02x}")).join(between);
        let signed = key.map(|octet| i8::from_be_bytes([octet]));
        for row in [
            format!("{key:?}"),
            format!("{signed:?}"),
            format!("{key:#?}"),
            hex("", ":"),
            hex("", " "),
            hex("0x", ", "),
            hex("\\x", ""),
        ] {
            assert!(has_key_octet_by_octet(&format!("at 10: bad key {row} 7")), "{row}");
            for before in ["cannot serialize key: ", "an HKDF-SHA256 key ", "wanted 32, got 16: ", "the ID is known, its key is "]
            {
                assert!(has_key_octet_by_octet(&format!("{before}{row}")), "{before}{row}");
            }
        }
        let half = &key[..15];
        for text in [
            format!("{half:?}"),
            "2026-11-29 20:38:40.123 127.0.0.1:8443 192.0.2.17 10.0.0.1, 1.1.1, 0.12.3 at 2026-11-29 20:38:40".to_owned(),
            "192.0.2.1, 192.0.2.2, 192.0.2.3, 10.1.2.3, 10.0.0.1, 127.0.0.1".to_owned(),
            "0957365e-4b8d-4f95-8a8f-de3d60199dbb, 0957365e-4b8d-4f95-8a8f-de3d60199dbb".to_owned(),
            "one of 8, 16, 24, 32, 40, 48, 56, 64, 72, 80, 88, 96, 104, 112, 120, 128, 136 bits".to_owned(),
            format!("SHA-256 Fingerprint={}", hex("", ":")),
            "one of 248, 240, 232, 224, 216, 208, 200, 192, 184, 176, 168, 160, 152, 144, 136, 128 bits".to_owned(),
            format!("X509v3 Authority Key Identifier: keyid:{}", hex("", ":")),
            format!("{{\"key_ID\":{key:?}}}"),
            format!("serial number {}", hex("", ":")),
            "2001:db8:00:11:22:33:44:55, fe80:00:00:00:00:11:22:33".to_owned(),
        ] {
            assert!(!has_key_octet_by_octet(&text), "{text}");
        }
    }

    #[test]
    fn octets_in_groups_are_hidden() {
        for row in ["c8014d 0309fa 063d01", "c8014d0309fa:063d01c8014d"] {
            assert!(!without_octets_in_a_row(row).contains("c8014d"), "{row}");
        }
    }
}
