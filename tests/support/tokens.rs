//! Rust source as trees of tokens, just far enough to see what it names: comments, numbers,
//! characters and lifetimes fall away, brackets become groups.

#[derive(Clone, Copy, Debug, PartialEq)]
pub enum Bracket {
    Round,
    Square,
    Curly,
}

#[derive(Clone, Debug, PartialEq)]
pub enum Token {
    /// Without `r#`.
    Ident(String),
    Punct(char),
    /// A plain string, as written between its quotes.
    Text(String),
    Group(Bracket, Vec<Token>),
}

/// # Errors
/// What is left open or closed too much.
pub fn tokens(text: &str) -> Result<Vec<Token>, String> {
    let mut lexer = Lexer {
        text: text.chars().collect(),
        at: 0,
    };
    let tokens = lexer.until(None)?;
    Ok(tokens)
}

struct Lexer {
    text: Vec<char>,
    at: usize,
}

impl Lexer {
    fn peek(&self, ahead: usize) -> char {
        self.text.get(self.at + ahead).copied().unwrap_or('\0')
    }

    fn until(&mut self, close: Option<char>) -> Result<Vec<Token>, String> {
        let mut found = Vec::new();
        while self.at < self.text.len() {
            let c = self.peek(0);
            match c {
                '/' if self.peek(1) == '/' => self.skip_line(),
                '/' if self.peek(1) == '*' => self.skip_block(),
                '"' => found.push(self.string()),
                '\'' => self.skip_quote(),
                '(' => found.push(self.group(Bracket::Round, ')')?),
                '[' => found.push(self.group(Bracket::Square, ']')?),
                '{' => found.push(self.group(Bracket::Curly, '}')?),
                ')' | ']' | '}' if Some(c) == close => {
                    self.at += 1;
                    return Ok(found);
                }
                ')' | ']' | '}' => return Err(format!("`{c}` closes nothing")),
                _ if c.is_ascii_digit() => self.skip_number(),
                _ if is_word(c) => found.extend(self.word()),
                _ => {
                    if !c.is_whitespace() {
                        found.push(Token::Punct(c));
                    }
                    self.at += 1;
                }
            }
        }
        match close {
            Some(close) => Err(format!("`{close}` is missing")),
            None => Ok(found),
        }
    }

    fn group(&mut self, bracket: Bracket, close: char) -> Result<Token, String> {
        self.at += 1;
        Ok(Token::Group(bracket, self.until(Some(close))?))
    }

    fn skip_line(&mut self) {
        while self.at < self.text.len() && self.peek(0) != '\n' {
            self.at += 1;
        }
    }

    fn skip_block(&mut self) {
        let mut depth = 0;
        loop {
            match (self.peek(0), self.peek(1)) {
                ('/', '*') => (depth, self.at) = (depth + 1, self.at + 2),
                ('*', '/') => (depth, self.at) = (depth - 1, self.at + 2),
                _ => self.at += 1,
            }
            if depth == 0 || self.at >= self.text.len() {
                return;
            }
        }
    }

    fn string(&mut self) -> Token {
        self.at += 1;
        let start = self.at;
        while self.at < self.text.len() && self.peek(0) != '"' {
            self.at += if self.peek(0) == '\\' { 2 } else { 1 };
        }
        let end = self.at.min(self.text.len());
        self.at += 1;
        Token::Text(self.text[start..end].iter().collect())
    }

    /// `r"…"`, `r#"…"#`: ends at a quote with as many hashes.
    fn skip_raw_string(&mut self, hashes: usize) {
        self.at += hashes + 1;
        while self.at < self.text.len() {
            self.at += 1;
            let closed = self.text[self.at - 1] == '"' && (0..hashes).all(|n| self.peek(n) == '#');
            if closed {
                self.at += hashes;
                return;
            }
        }
    }

    /// A character or a lifetime.
    fn skip_quote(&mut self) {
        if self.peek(1) == '\\' {
            self.at += 3;
            while self.at < self.text.len() && self.peek(0) != '\'' {
                self.at += 1;
            }
            self.at += 1;
        } else if self.peek(2) == '\'' {
            self.at += 3;
        } else {
            self.at += 1;
            self.skip_word();
        }
    }

    fn skip_number(&mut self) {
        self.skip_word();
        if self.peek(0) == '.' && self.peek(1).is_ascii_digit() {
            self.at += 1;
            self.skip_word();
        }
    }

    fn skip_word(&mut self) {
        while is_word(self.peek(0)) {
            self.at += 1;
        }
    }

    fn word(&mut self) -> Option<Token> {
        let start = self.at;
        self.skip_word();
        let word: String = self.text[start..self.at].iter().collect();
        let hashes = (0..).take_while(|n| self.peek(*n) == '#').count();
        match word.as_str() {
            "r" | "br" | "cr" if self.peek(hashes) == '"' => {
                self.skip_raw_string(hashes);
                None
            }
            "b" | "c" if self.peek(0) == '"' => {
                self.string();
                None
            }
            "b" if self.peek(0) == '\'' => {
                self.skip_quote();
                None
            }
            "r" if hashes == 1 && is_word(self.peek(1)) => {
                self.at += 1;
                self.word()
            }
            _ => Some(Token::Ident(word)),
        }
    }
}

fn is_word(c: char) -> bool {
    c == '_' || c.is_alphanumeric()
}
