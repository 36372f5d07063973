//! Plain text inside Markdown: only what could act as markup is escaped, so that a reader without escapes loses
//! little.

/// Where a text goes.
#[derive(Clone, Copy)]
pub(super) struct Place {
    /// At the beginning of a line.
    pub(super) line_start: bool,
    /// Inside of a link's label.
    pub(super) label: bool,
    /// The character before.
    pub(super) before: Option<char>,
    /// The character that follows the text, as far as it is known.
    pub(super) after: Option<char>,
}

/// Appends `text` (one line, without newlines) so that Markdown shows it as it is.
pub(super) fn push(out: &mut String, text: &str, place: Place) {
    let mut rest = text;
    let mut before = place.before;
    if place.line_start {
        // Markdown cuts leading blanks; DingTalk knows this entity (API.md section 5.5).
        let words = rest.trim_start_matches([' ', '\t']);
        for blank in rest[..rest.len() - words.len()].chars() {
            out.push_str(if blank == '\t' { "&nbsp;&nbsp;&nbsp;&nbsp;" } else { "&nbsp;" });
        }
        // A blank written as entity is text already: what follows does not begin the line any more.
        if words.len() == rest.len() {
            let taken = push_marker(out, rest);
            before = rest[..taken].chars().next_back().or(before);
            rest = &rest[taken..];
        } else {
            rest = words;
            before = Some(' ');
        }
    }
    let mut chars = rest.char_indices().peekable();
    while let Some((index, c)) = chars.next() {
        let next = chars.peek().map(|(_, next)| *next).or(place.after);
        let escaped = match c {
            '\\' | '`' | '*' | '~' => true,
            '_' => !(before.is_some_and(char::is_alphanumeric) && next.is_some_and(char::is_alphanumeric)),
            '[' => place.label,
            ']' => place.label || matches!(next, Some('(' | '[' | ':')),
            '!' => next == Some('['),
            _ => false,
        };
        match c {
            '<' => out.push_str("&lt;"),
            '&' if is_entity(&rest[index..]) => out.push_str("&amp;"),
            '\r' => out.push(' '),
            c if c.is_control() && c != '\t' => {}
            c => {
                if escaped {
                    out.push('\\');
                }
                out.push(c);
            }
        }
        before = Some(c);
    }
}

/// Appends what a line of Markdown could take for the marker of a block, escaped. Returns how many bytes were taken.
fn push_marker(out: &mut String, line: &str) -> usize {
    let blank = |rest: &str| rest.is_empty() || rest.starts_with([' ', '\t']);
    let only = |set: &str| line.chars().all(|c| set.contains(c));
    match line.as_bytes().first() {
        Some(b'#') => {
            let level = line.len() - line.trim_start_matches('#').len();
            if level <= 6 && blank(&line[level..]) {
                out.push('\\');
                out.push_str(&line[..level]);
                return level;
            }
        }
        Some(b'>') => {
            out.push_str("\\>");
            return 1;
        }
        Some(mark @ (b'-' | b'+')) if blank(&line[1..]) || only("-+=:| \t") => {
            out.push('\\');
            out.push(char::from(*mark));
            return 1;
        }
        Some(mark @ (b'=' | b'|' | b':')) if only("-=:| \t") => {
            out.push('\\');
            out.push(char::from(*mark));
            return 1;
        }
        Some(b'0'..=b'9') => {
            let digits = line.len() - line.trim_start_matches(|c: char| c.is_ascii_digit()).len();
            if digits <= 9 && line[digits..].starts_with(['.', ')']) && blank(&line[digits + 1..]) {
                out.push_str(&line[..digits]);
                out.push('\\');
                out.push_str(&line[digits..=digits]);
                return digits + 1;
            }
        }
        _ => {}
    }
    0
}

/// Whether a text that begins with `&` begins with a character reference.
fn is_entity(text: &str) -> bool {
    let name = text[1..].split(';').next().unwrap_or_default();
    let ends = text.as_bytes().get(1 + name.len()) == Some(&b';');
    ends && (1..=40).contains(&name.len())
        && name.bytes().all(|byte| byte.is_ascii_alphanumeric() || byte == b'#')
}

/// Appends an address so that it stands in `(…)` byte for byte; what no address may hold is percent-encoded.
pub(super) fn push_address(out: &mut String, address: &str) {
    let balanced = is_balanced(address);
    for (index, c) in address.char_indices() {
        match c {
            '(' | ')' if !balanced => {
                out.push('\\');
                out.push(c);
            }
            '\\' => out.push_str("\\\\"),
            '&' if is_entity(&address[index..]) => out.push_str("&amp;"),
            '<' => out.push_str("%3C"),
            '>' => out.push_str("%3E"),
            c if c.is_whitespace() || c.is_control() => {
                let mut bytes = [0; 4];
                for byte in c.encode_utf8(&mut bytes).bytes() {
                    out.push('%');
                    out.push_str(&super::super::crypt::hex(&[byte]).to_ascii_uppercase());
                }
            }
            c => out.push(c),
        }
    }
}

/// Whether parentheses close in order and are not nested deeper than readers of Markdown follow.
fn is_balanced(address: &str) -> bool {
    let mut depth = 0_u32;
    for byte in address.bytes() {
        match byte {
            b'(' if depth == 8 => return false,
            b'(' => depth += 1,
            b')' if depth == 0 => return false,
            b')' => depth -= 1,
            _ => {}
        }
    }
    depth == 0
}

/// Whether an address may become a link. Others (`javascript:`, DingTalk's own actions) are shown as text.
pub(super) fn is_linkable(address: &str) -> bool {
    let Some((scheme, rest)) = address.split_once(':') else { return false };
    !rest.is_empty()
        && ["http", "https", "mailto", "tel", "ftp"].iter().any(|known| scheme.eq_ignore_ascii_case(known))
}

/// Where the first web address in a text begins and ends.
pub(super) fn find_address(text: &str) -> Option<std::ops::Range<usize>> {
    let begins = |(start, scheme): &(usize, &str)| {
        let rest = &text[start + scheme.len()..];
        rest.starts_with("://") || rest.starts_with("s://")
    };
    let (start, _) = text.match_indices("http").find(begins)?;
    let ends = |c: char| c.is_whitespace() || c.is_control() || "<>\"`，。；！？、（）【】「」“”".contains(c);
    let end = text[start..].find(ends).map_or(text.len(), |length| start + length);
    let end = start + text[start..end].trim_end_matches(['.', ',', ';', ':', '!', '?', '\'', ']']).len();
    Some(start..end)
}
