//! Unbounded decimals: Java's `BigDecimal`, an unscaled integer and a scale.

use super::java_number::{digit, low_bits};
use num_bigint::{BigInt, Sign};
use num_traits::Zero;
use std::fmt;
use std::str::FromStr;

/// `unscaled · 10^-scale`. Equality includes the scale, as Java's `equals` does: `1.0` differs from `1.00`.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Decimal {
    /// All digits, as an integer.
    pub unscaled: BigInt,
    /// How many of the digits stand behind the point; negative for trailing zeros that are not written.
    pub scale: i32,
}

/// The text is no decimal, or its exponent does not fit 32 bits. Counterpart of Java's `NumberFormatException`.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[error(
    "`{0}` is not a decimal number; write digits with at most one point and an optional exponent, as in `-12.50e3`"
)]
pub struct ParseDecimalError(String);

impl Decimal {
    /// A decimal from its parts.
    pub fn new(unscaled: impl Into<BigInt>, scale: i32) -> Self {
        Self { unscaled: unscaled.into(), scale }
    }

    /// The big-endian two's-complement bytes of the unscaled value, at least one: the physical form of the logical type Decimal.
    pub fn unscaled_bytes(&self) -> Vec<u8> {
        self.unscaled.to_signed_bytes_be()
    }

    /// The opposite of [`Self::unscaled_bytes`]; no bytes are refused by Java, so none come here as zero.
    pub fn from_unscaled_bytes(bytes: &[u8], scale: i32) -> Self {
        Self { unscaled: BigInt::from_signed_bytes_be(bytes), scale }
    }

    /// Java's `BigDecimal.precision()`: the number of digits of the unscaled value, 1 for zero.
    pub fn precision(&self) -> usize {
        if self.unscaled.is_zero() { 1 } else { self.unscaled.magnitude().to_string().len() }
    }

    /// Java's `BigDecimal.longValue()`: the whole part's lowest 64 bits; 0 where 64 or more zeros follow the digits.
    pub fn low_bits(&self) -> i64 {
        if self.scale <= -64 || i64::from(self.scale) >= self.precision() as i64 {
            return 0;
        }
        let power = BigInt::from(10).pow(self.scale.unsigned_abs());
        low_bits(&if self.scale < 0 { &self.unscaled * power } else { &self.unscaled / power })
    }

    /// Java's `BigDecimal.doubleValue()`.
    pub fn to_f64(&self) -> f64 {
        self.to_string().parse().expect("a decimal is a number")
    }

    /// Java's `BigDecimal.floatValue()`.
    pub fn to_f32(&self) -> f32 {
        self.to_string().parse().expect("a decimal is a number")
    }

    /// Java's `BigDecimal.toPlainString()`: no exponent.
    pub fn to_plain_string(&self) -> String {
        let digits = self.unscaled.magnitude().to_string();
        let sign = if self.unscaled.sign() == Sign::Minus { "-" } else { "" };
        if self.scale <= 0 {
            let zeros = if self.unscaled.is_zero() { 0 } else { self.scale.unsigned_abs() as usize };
            return format!("{sign}{digits}{}", "0".repeat(zeros));
        }
        let scale = self.scale as usize;
        if digits.len() > scale {
            let (whole, fraction) = digits.split_at(digits.len() - scale);
            format!("{sign}{whole}.{fraction}")
        } else {
            format!("{sign}0.{}{digits}", "0".repeat(scale - digits.len()))
        }
    }

    pub(super) fn java_hash(&self) -> i32 {
        // BigDecimal.hashCode: compact values hash their magnitude as a long, others the BigInteger; both as 31·hash + scale.
        match i64::try_from(&self.unscaled) {
            Ok(n) if n != i64::MIN => {
                let magnitude = n.unsigned_abs();
                let low = (magnitude & 0xffff_ffff) as i32;
                let high = (magnitude >> 32) as i32;
                let hash = high.wrapping_mul(31).wrapping_add(low);
                let signed = if n < 0 { hash.wrapping_neg() } else { hash };
                signed.wrapping_mul(31).wrapping_add(self.scale)
            }
            _ => big_integer_hash(&self.unscaled).wrapping_mul(31).wrapping_add(self.scale),
        }
    }
}

/// Java's `BigInteger.hashCode`.
pub(super) fn big_integer_hash(n: &BigInt) -> i32 {
    let hash = n
        .magnitude()
        .to_u32_digits()
        .iter()
        .rev()
        .fold(0i32, |h, digit| h.wrapping_mul(31).wrapping_add(*digit as i32));
    if n.sign() == Sign::Minus { hash.wrapping_neg() } else { hash }
}

/// Java's `BigDecimal.toString()`: scientific notation where the scale is negative or the number very small.
impl fmt::Display for Decimal {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let digits = self.unscaled.magnitude().to_string();
        let adjusted = digits.len() as i64 - 1 - i64::from(self.scale);
        if self.scale >= 0 && adjusted >= -6 {
            return f.write_str(&self.to_plain_string());
        }
        if self.unscaled.sign() == Sign::Minus {
            f.write_str("-")?;
        }
        let (first, rest) = digits.split_at(1);
        f.write_str(first)?;
        if !rest.is_empty() {
            write!(f, ".{rest}")?;
        }
        if adjusted != 0 {
            write!(f, "E{adjusted:+}")?;
        }
        Ok(())
    }
}

/// Reads what Java's `new BigDecimal(String)` reads: digits may be those of any script.
impl FromStr for Decimal {
    type Err = ParseDecimalError;

    fn from_str(text: &str) -> Result<Self, ParseDecimalError> {
        let refuse = || ParseDecimalError(text.to_owned());
        let ascii: String;
        let text = if text.is_ascii() {
            text
        } else {
            let known = |c: char| if c.is_ascii() { Some(c) } else { digit(c).map(|digit| char::from(b'0' + digit)) };
            ascii = text.chars().map(known).collect::<Option<_>>().ok_or_else(refuse)?;
            &ascii
        };
        let (negative, body) = match text.as_bytes().first() {
            Some(b'-') => (true, &text[1..]),
            Some(b'+') => (false, &text[1..]),
            _ => (false, text),
        };
        let (mantissa, exponent) = match body.find(['e', 'E']) {
            Some(at) => {
                let digits = &body[at + 1..];
                let unsigned = digits.strip_prefix(['+', '-']).unwrap_or(digits);
                if unsigned.is_empty() || !unsigned.bytes().all(|b| b.is_ascii_digit()) {
                    return Err(refuse());
                }
                (&body[..at], digits.parse::<i32>().map_err(|_| refuse())?)
            }
            None => (body, 0),
        };
        let (whole, fraction) = mantissa.split_once('.').unwrap_or((mantissa, ""));
        let digits = [whole, fraction].concat();
        if digits.is_empty() || !digits.bytes().all(|b| b.is_ascii_digit()) {
            return Err(refuse());
        }
        let unscaled = BigInt::parse_bytes(digits.as_bytes(), 10).ok_or_else(refuse)?;
        let scale = i64::try_from(fraction.len()).map_err(|_| refuse())? - i64::from(exponent);
        Ok(Self {
            unscaled: if negative { -unscaled } else { unscaled },
            scale: i32::try_from(scale).map_err(|_| refuse())?,
        })
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn text_is_javas() {
        let cases = [
            ("1.50", "1.50"),
            ("-0.001", "-0.001"),
            ("1e3", "1E+3"),
            ("12.5e-10", "1.25E-9"),
            ("0.0000001", "1E-7"),
            ("0e5", "0E+5"),
            (".5", "0.5"),
            ("5.", "5"),
        ];
        for (input, expected) in cases {
            assert_eq!(input.parse::<Decimal>().unwrap().to_string(), expected, "{input}");
        }
        for bad in ["", "-", ".", "1e", "1e+", "0x10", "1e99999999999", "1.2.3", "1 "] {
            assert!(bad.parse::<Decimal>().is_err(), "{bad}");
        }
        assert_eq!("12e2".parse::<Decimal>().unwrap().to_plain_string(), "1200");
        assert_eq!("-１.٥".parse::<Decimal>().unwrap().to_string(), "-1.5");
    }

    #[test]
    fn the_whole_parts_lowest_bits_stay() {
        let cases = [
            ("-1.9", -1),
            ("18446744073709551621.5", 5),
            ("1e63", i64::MIN),
            ("1e64", 0),
            ("1e-2147483647", 0),
            ("9e2147483647", 0),
            ("12e2", 1200),
        ];
        for (text, expected) in cases {
            assert_eq!(text.parse::<Decimal>().unwrap().low_bits(), expected, "{text}");
        }
    }
}
