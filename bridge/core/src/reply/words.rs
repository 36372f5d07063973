//! Small parts of sentences that both languages share.

use std::time::Duration;

/// An age in words short enough for a line of `status`.
pub(super) fn age(span: Duration) -> String {
    let seconds = span.as_secs();
    match seconds {
        0..60 => format!("{seconds} s"),
        60..3_600 => format!("{} min", seconds / 60),
        3_600..172_800 => format!("{} h", seconds / 3_600),
        _ => format!("{} d", seconds / 86_400),
    }
}

/// Who may use commands, named for a person who may not; a long list is cut.
pub(super) fn names(users: &[String]) -> String {
    const MOST: usize = 10;
    let mut text = users.iter().take(MOST).map(String::as_str).collect::<Vec<_>>().join(", ");
    if users.len() > MOST {
        text.push_str(", …");
    }
    text
}
