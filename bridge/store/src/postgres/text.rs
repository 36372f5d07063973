//! Texts that PostgreSQL cannot hold. It refuses the character NUL, which names and identifiers from outside may have;
//! written as it is, one such message would be refused for ever.

use std::borrow::Cow;

/// Stands before what replaces a character; a code point that is no character and never will be one.
const ESCAPE: char = '\u{FDD0}';

fn special(character: char) -> bool {
    character == '\0' || character == ESCAPE
}

/// The form of a text in the database. Different texts stay different.
pub(super) fn written(text: &str) -> Cow<'_, str> {
    if !text.contains(special) {
        return Cow::Borrowed(text);
    }
    let mut written = String::with_capacity(text.len() + 8);
    for character in text.chars() {
        if special(character) {
            written.push(ESCAPE);
            written.push(if character == '\0' { '0' } else { '1' });
        } else {
            written.push(character);
        }
    }
    Cow::Owned(written)
}

/// The inverse of [`written`].
pub(super) fn read(text: String) -> String {
    if !text.contains(ESCAPE) {
        return text;
    }
    let mut read = String::with_capacity(text.len());
    let mut characters = text.chars();
    while let Some(character) = characters.next() {
        if character != ESCAPE {
            read.push(character);
            continue;
        }
        match characters.next() {
            Some('0') => read.push('\0'),
            Some('1') | None => read.push(ESCAPE),
            // Nothing of ours; kept as it is.
            Some(other) => read.extend([ESCAPE, other]),
        }
    }
    read
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    proptest! {
        #[test]
        fn every_text_comes_back_and_has_no_nul(text in "[\0\u{FDD0}01a项]{0,12}") {
            let stored = written(&text).into_owned();
            prop_assert!(!stored.contains('\0'));
            prop_assert_eq!(read(stored), text);
        }
    }

    #[test]
    fn an_ordinary_text_is_not_copied() {
        assert!(matches!(written("项目 1"), Cow::Borrowed(_)));
    }
}
