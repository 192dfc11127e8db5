//! Numbers in text as Java reads them: `Integer.parseInt` and its kin, `Double.parseDouble`, `Float.parseFloat`.

use num_bigint::{BigInt, Sign};

/// Zeros of Unicode's decimal digits in the basic plane; the nine others follow each.
const ZEROS: [u16; 37] = [
    0x0030, 0x0660, 0x06f0, 0x07c0, 0x0966, 0x09e6, 0x0a66, 0x0ae6, 0x0b66, 0x0be6, 0x0c66, 0x0ce6, 0x0d66, 0x0de6,
    0x0e50, 0x0ed0, 0x0f20, 0x1040, 0x1090, 0x17e0, 0x1810, 0x1946, 0x19d0, 0x1a80, 0x1a90, 0x1b50, 0x1bb0, 0x1c40,
    0x1c50, 0xa620, 0xa8d0, 0xa900, 0xa9d0, 0xa9f0, 0xaa50, 0xabf0, 0xff10,
];

/// Java's `Character.digit(c, 10)`: digits of any script.
pub fn digit(c: char) -> Option<u8> {
    if c.is_ascii() {
        return c.is_ascii_digit().then(|| c as u8 - b'0');
    }
    let code = u16::try_from(u32::from(c)).ok()?;
    ZEROS.iter().find(|zero| (**zero..**zero + 10).contains(&code)).map(|zero| (code - zero) as u8)
}

/// Sign and rest of a text.
fn signed(text: &str) -> (bool, &str) {
    match text.as_bytes().first() {
        Some(b'-') => (true, &text[1..]),
        Some(b'+') => (false, &text[1..]),
        _ => (false, text),
    }
}

/// Java's `Integer.parseInt` and its kin: digits of any script, with a sign. None also beyond 128 bits.
pub fn integer(text: &str) -> Option<i128> {
    let (negative, digits) = signed(text);
    if digits.is_empty() {
        return None;
    }
    let mut number: i128 = 0;
    for c in digits.chars() {
        number = number.checked_mul(10)?.checked_add(digit(c)?.into())?;
    }
    Some(if negative { -number } else { number })
}

/// A floating-point number that Java can read from text.
trait Float: std::str::FromStr {
    const NAN: Self;
    const INFINITY: Self;
    fn of_double(n: f64) -> Self;
    fn negated(self) -> Self;
}

impl Float for f64 {
    const NAN: Self = f64::NAN;
    const INFINITY: Self = f64::INFINITY;
    fn of_double(n: f64) -> Self {
        n
    }
    fn negated(self) -> Self {
        -self
    }
}

impl Float for f32 {
    const NAN: Self = f32::NAN;
    const INFINITY: Self = f32::INFINITY;
    fn of_double(n: f64) -> Self {
        n as f32
    }
    fn negated(self) -> Self {
        -self
    }
}

/// Java's `Double.parseDouble` of a trimmed text.
pub fn double(text: &str) -> Option<f64> {
    float_of(text)
}

/// Java's `Float.parseFloat` of a trimmed text.
pub fn float(text: &str) -> Option<f32> {
    float_of(text)
}

fn float_of<F: Float>(text: &str) -> Option<F> {
    let (negative, magnitude) = signed(text);
    let number = match magnitude {
        "NaN" => return Some(F::NAN),
        "Infinity" => F::INFINITY,
        _ => {
            let digits = magnitude.strip_suffix(['d', 'D', 'f', 'F']).unwrap_or(magnitude);
            if let Some(hex) = digits.strip_prefix("0x").or_else(|| digits.strip_prefix("0X")) {
                F::of_double(hexadecimal(hex)?)
            } else {
                let plain = digits.bytes().all(|b| matches!(b, b'0'..=b'9' | b'.' | b'e' | b'E' | b'+' | b'-'));
                let first = digits.bytes().next()?;
                if !plain || !(first.is_ascii_digit() || first == b'.') {
                    return None;
                }
                digits.parse().ok()?
            }
        }
    };
    Some(if negative { number.negated() } else { number })
}

/// Hexadecimal floats (`1.8p1`), exact as far as 52 bits of digits go.
fn hexadecimal(text: &str) -> Option<f64> {
    let (digits, exponent) = text.split_once(['p', 'P'])?;
    let (whole, fraction) = digits.split_once('.').unwrap_or((digits, ""));
    if whole.is_empty() && fraction.is_empty() {
        return None;
    }
    let mut number = 0.0;
    for c in whole.chars().chain(fraction.chars()) {
        number = number * 16.0 + f64::from(c.to_digit(16)?);
    }
    let exponent: i32 = exponent.parse().ok()?;
    let scale = exponent.checked_sub(4 * i32::try_from(fraction.len()).ok()?)?;
    Some(number * 2f64.powi(scale))
}

/// Java's `BigInteger.longValue`: the lowest 64 bits.
pub fn low_bits(n: &BigInt) -> i64 {
    let low = n.magnitude().iter_u64_digits().next().unwrap_or(0) as i64;
    if n.sign() == Sign::Minus { low.wrapping_neg() } else { low }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn floats_are_read_as_in_java() {
        let cases = [
            ("5f", Some(5.0)),
            ("-1.5e2D", Some(-150.0)),
            ("0x1p3", Some(8.0)),
            (".5", Some(0.5)),
            ("5.", Some(5.0)),
            ("1e39", Some(1e39)),
            ("-Infinity", Some(f64::NEG_INFINITY)),
            ("infinity", None),
            ("inf", None),
            ("nan", None),
            ("", None),
            ("+", None),
            ("0x1", None),
            ("1e", None),
            ("١", None),
        ];
        for (text, expected) in cases {
            assert_eq!(double(text), expected, "{text}");
        }
        assert!(double("NaN").is_some_and(f64::is_nan));
        assert_eq!(float("1e39"), Some(f32::INFINITY));
        // As a double first it would be rounded twice.
        assert_eq!(float("1.00000017881393432617187499"), Some(1.000_000_1));
    }

    #[test]
    fn integers_have_digits_of_any_script() {
        for (text, expected) in
            [("-12", Some(-12)), ("+7", Some(7)), ("１２", Some(12)), ("", None), ("-", None), ("1_0", None)]
        {
            assert_eq!(integer(text), expected, "{text}");
        }
    }

    #[test]
    fn the_lowest_bits_stay() {
        for (n, expected) in [(1i128 << 64, 0), ((1 << 64) + 5, 5), (-1, -1), (i128::from(i64::MAX) + 1, i64::MIN)] {
            assert_eq!(low_bits(&n.into()), expected, "{n}");
        }
    }
}
