//! Running text with white space as HTML shows it: runs become one space, none at the edges of a line.

use bridge_core::content::Inline;

use super::collapse;

/// An inline element around others.
#[derive(Debug, Clone)]
pub(super) enum Wrapper {
    Strong,
    Emphasis,
    Strike,
    Link(String),
}

impl Wrapper {
    fn around(&self, inlines: Vec<Inline>) -> Inline {
        match self {
            Self::Strong => Inline::Strong(inlines),
            Self::Emphasis => Inline::Emphasis(inlines),
            Self::Strike => Inline::Strike(inlines),
            Self::Link(address) => Inline::Link(address.clone(), inlines),
        }
    }
}

/// A paragraph under construction.
#[derive(Debug)]
pub(super) struct Flow {
    inlines: Vec<Inline>,
    /// From here on the wrappers around the block have not been put around the inlines.
    unwrapped: usize,
    /// Nothing is in the line yet, or a space was the last thing: another one would not show.
    after_space: bool,
    /// A block inside a line has ended; a break is due if anything follows.
    break_due: bool,
    line_empty: bool,
}

impl Default for Flow {
    fn default() -> Self {
        Self { inlines: Vec::new(), unwrapped: 0, after_space: true, break_due: false, line_empty: true }
    }
}

/// White space of HTML; the non-breaking space is none.
pub(super) fn is_space(c: char) -> bool {
    matches!(c, ' ' | '\t' | '\n' | '\r' | '\u{c}')
}

impl Flow {
    /// Adds text.
    pub(super) fn text(&mut self, text: &str) {
        let mut out = String::with_capacity(text.len());
        for c in text.chars() {
            if is_space(c) {
                if !self.after_space && !self.break_due {
                    out.push(' ');
                    self.after_space = true;
                }
            } else {
                self.begin();
                out.push(c);
                self.after_space = false;
            }
        }
        self.append(&out);
    }

    fn append(&mut self, text: &str) {
        if text.is_empty() {
            return;
        }
        let joined = self.inlines.len() > self.unwrapped;
        match self.inlines.last_mut() {
            Some(Inline::Text(before)) if joined => before.push_str(text),
            _ => self.inlines.push(Inline::Text(text.to_owned())),
        }
    }

    /// Something visible follows.
    fn begin(&mut self) {
        if self.break_due {
            self.hard_break();
        }
        self.line_empty = false;
    }

    /// Adds a piece that shows.
    pub(super) fn push(&mut self, inline: Inline) {
        self.begin();
        self.inlines.push(inline);
        self.after_space = false;
    }

    /// Adds code as clients show it, with every space of a line (Element: `white-space: pre-wrap`). A line's end is one space, with what surrounds it.
    pub(super) fn code(&mut self, code: &str) {
        let lines: Vec<&str> = code.split(['\n', '\r']).collect();
        let last = lines.len() - 1;
        let inner = lines.iter().enumerate().map(|(number, line)| {
            let line = if number > 0 { line.trim_start_matches(is_space) } else { line };
            if number < last { line.trim_end_matches(is_space) } else { line }
        });
        let code =
            inner.filter(|line| !line.is_empty()).collect::<Vec<_>>().join(" ").replace(['\t', '\u{c}'], " ");
        if !code.trim().is_empty() {
            self.push(Inline::Code(code));
        }
    }

    /// Adds a picture by its alternative text; one without any is nothing.
    pub(super) fn image(&mut self, alt: &str) {
        let alt = collapse(alt);
        if !alt.is_empty() {
            self.push(Inline::Image(alt, None));
        }
    }

    /// Adds a line break.
    pub(super) fn hard_break(&mut self) {
        self.trim();
        self.inlines.push(Inline::Break);
        self.break_due = false;
        self.after_space = true;
        self.line_empty = true;
    }

    /// Adds a line break if the line has something and something follows.
    pub(super) fn soft_break(&mut self) {
        self.break_due |= !self.line_empty;
    }

    /// Puts an element around what `inner` adds. Spaces at its edges go outside; an empty one is left out.
    pub(super) fn wrap(&mut self, wrapper: &Wrapper, inner: impl FnOnce(&mut Self)) {
        if self.break_due {
            self.hard_break();
        }
        let outer = std::mem::take(&mut self.inlines);
        let unwrapped = std::mem::replace(&mut self.unwrapped, 0);
        inner(self);
        let inlines = std::mem::replace(&mut self.inlines, outer);
        self.unwrapped = unwrapped;
        self.enclose(wrapper, inlines);
    }

    fn enclose(&mut self, wrapper: &Wrapper, mut inlines: Vec<Inline>) {
        let mut lead = false;
        if let Some(Inline::Text(text)) = inlines.first_mut()
            && text.starts_with(' ')
        {
            text.remove(0);
            lead = true;
        }
        let mut trail = false;
        if let Some(Inline::Text(text)) = inlines.last_mut()
            && text.ends_with(' ')
        {
            text.pop();
            trail = true;
        }
        inlines.retain(|inline| !matches!(inline, Inline::Text(text) if text.is_empty()));
        if lead {
            self.append(" ");
        }
        let visible = inlines.iter().any(|inline| !matches!(inline, Inline::Break));
        if visible {
            self.inlines.push(wrapper.around(inlines));
        } else {
            self.inlines.extend(inlines);
        }
        if trail {
            self.append(" ");
        }
    }

    /// Puts the elements around the block about everything since the last time.
    pub(super) fn wrap_up(&mut self, wrappers: &[Wrapper]) {
        for wrapper in wrappers.iter().rev() {
            if self.inlines.len() > self.unwrapped {
                let inlines = self.inlines.split_off(self.unwrapped);
                self.enclose(wrapper, inlines);
            }
        }
        self.unwrapped = self.inlines.len();
    }

    /// Ends the paragraph and hands it out, without spaces and breaks at its end.
    pub(super) fn take(&mut self, wrappers: &[Wrapper]) -> Vec<Inline> {
        self.wrap_up(wrappers);
        let mut whole = std::mem::take(self);
        whole.trim();
        while matches!(whole.inlines.last(), Some(Inline::Break)) {
            whole.inlines.pop();
            whole.trim();
        }
        whole.inlines
    }

    /// Removes a space at the end.
    fn trim(&mut self) {
        if let Some(Inline::Text(text)) = self.inlines.last_mut() {
            if text.ends_with(' ') {
                text.pop();
            }
            if text.is_empty() {
                self.inlines.pop();
                self.unwrapped = self.unwrapped.min(self.inlines.len());
            }
        }
    }
}
