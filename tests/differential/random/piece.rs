//! How is a statement kept so that it can be made smaller?
//!
//! A tree of text in which the generator marks what may go: clauses, items of lists, and expressions
//! that have simpler forms. [`Statement::smaller`] gives every statement that is one step smaller; a
//! failing statement is shrunk by taking steps as long as it still fails.

use super::rng::Rng;
use crate::judge::Order;
use crate::wire::Param;

/// A part of a statement.
#[derive(Debug, Clone)]
pub enum Piece {
    Text(String),
    /// A literal; the binary protocol sends it as a parameter.
    Value(String, Param),
    Many(Vec<Piece>),
    /// May go.
    Maybe(Box<Piece>),
    /// Items between commas (or AND, or nothing); may go down to `least` of them.
    List {
        items: Vec<Piece>,
        comma: &'static str,
        least: usize,
    },
    /// The first stands; the others are simpler.
    OneOf(Vec<Piece>),
    Tail(Box<Tail>),
}

/// ORDER BY and LIMIT: cut rows are only defined while the order is total.
#[derive(Debug, Clone, Default)]
pub struct Tail {
    pub keys: Vec<Key>,
    /// No two rows tie.
    pub total: bool,
    pub limit: Option<String>,
}

/// One item of ORDER BY.
#[derive(Debug, Clone)]
pub struct Key {
    pub text: Piece,
    /// The result column that it is, if it is one.
    pub column: Option<String>,
}

/// A statement with what must be known to compare its answers.
#[derive(Debug, Clone)]
pub struct Statement {
    pub topic: &'static str,
    pub body: Piece,
    pub tail: Option<Tail>,
    /// Behind the tail: FOR UPDATE and the like.
    pub end: Option<Piece>,
    /// See [`crate::judge::Check::folded`].
    pub folded: bool,
    /// By prepare and execute, literals as parameters.
    pub binary: bool,
}

/// Text without holes.
pub fn text(text: impl Into<String>) -> Piece {
    Piece::Text(text.into())
}

/// Parts one after the other.
pub fn many(parts: impl IntoIterator<Item = Piece>) -> Piece {
    Piece::Many(parts.into_iter().collect())
}

/// A part that may go.
pub fn maybe(part: Piece) -> Piece {
    Piece::Maybe(Box::new(part))
}

/// Items between commas; one must stay.
pub fn list(items: Vec<Piece>) -> Piece {
    Piece::List { items, comma: ", ", least: 1 }
}

// === impl Piece ===

impl Piece {
    /// Appends the text, and the parameters if they are to be sent apart.
    fn write(&self, out: &mut String, params: &mut Option<Vec<Param>>) {
        match self {
            Piece::Text(text) => out.push_str(text),
            Piece::Value(text, param) => match params {
                Some(params) => {
                    out.push('?');
                    params.push(param.clone());
                }
                None => out.push_str(text),
            },
            Piece::Many(parts) => parts.iter().for_each(|part| part.write(out, params)),
            Piece::Maybe(part) => part.write(out, params),
            Piece::List { items, comma, .. } => {
                for (at, item) in items.iter().enumerate() {
                    if at > 0 {
                        out.push_str(comma);
                    }
                    item.write(out, params);
                }
            }
            Piece::OneOf(forms) => {
                if let Some(form) = forms.first() {
                    form.write(out, params);
                }
            }
            Piece::Tail(tail) => tail.write(out, params),
        }
    }

    /// Every piece that is one step smaller.
    fn smaller(&self) -> Vec<Piece> {
        match self {
            Piece::Text(_) | Piece::Value(..) => Vec::new(),
            Piece::Many(parts) => inside(parts).map(Piece::Many).collect(),
            Piece::Maybe(part) => {
                let mut all = vec![Piece::Many(Vec::new())];
                all.extend(part.smaller().into_iter().map(|part| Piece::Maybe(Box::new(part))));
                all
            }
            Piece::List { items, comma, least } => {
                let again = |items| Piece::List { items, comma, least: *least };
                let mut all = Vec::new();
                if items.len() > *least {
                    // Half of them at a time first.
                    let half = items.len() / 2;
                    if half >= *least && half > 1 {
                        all.push(again(items[..half].to_vec()));
                        all.push(again(items[half..].to_vec()));
                    }
                    for at in 0..items.len() {
                        let mut rest = items.clone();
                        rest.remove(at);
                        all.push(again(rest));
                    }
                }
                all.extend(inside(items).map(again));
                all
            }
            Piece::OneOf(forms) => {
                let mut all: Vec<Piece> = forms.iter().skip(1).cloned().collect();
                if let Some(first) = forms.first() {
                    all.extend(first.smaller().into_iter().map(|form| {
                        let mut forms = forms.clone();
                        forms[0] = form;
                        Piece::OneOf(forms)
                    }));
                }
                all
            }
            Piece::Tail(tail) => {
                let mut all = vec![Piece::Many(Vec::new())];
                all.extend(tail.smaller().into_iter().map(|tail| Piece::Tail(Box::new(tail))));
                all
            }
        }
    }
}

/// The same parts with one of them a step smaller.
fn inside(parts: &[Piece]) -> impl Iterator<Item = Vec<Piece>> + '_ {
    parts.iter().enumerate().flat_map(move |(at, part)| {
        part.smaller().into_iter().map(move |smaller| {
            let mut parts = parts.to_vec();
            parts[at] = smaller;
            parts
        })
    })
}

// === impl Tail ===

impl Tail {
    fn write(&self, out: &mut String, params: &mut Option<Vec<Param>>) {
        for (at, key) in self.keys.iter().enumerate() {
            out.push_str(if at == 0 { " ORDER BY " } else { ", " });
            key.text.write(out, params);
        }
        if let Some(limit) = &self.limit {
            out.push_str(" LIMIT ");
            out.push_str(limit);
        }
    }

    fn smaller(&self) -> Vec<Tail> {
        let mut all = Vec::new();
        if self.limit.is_some() {
            all.push(Tail { limit: None, ..self.clone() });
        } else {
            for at in 0..self.keys.len() {
                let mut tail = Tail { total: false, ..self.clone() };
                tail.keys.remove(at);
                all.push(tail);
            }
        }
        all
    }

    fn order(&self) -> Order {
        if self.keys.is_empty() {
            return Order::Any;
        }
        if self.total {
            return Order::Total;
        }
        // A key that cannot be seen in the result hides the order of what follows it.
        let keys: Vec<String> = self.keys.iter().map_while(|key| key.column.clone()).collect();
        if self.limit.is_some() { Order::CutKeys(keys) } else { Order::Keys(keys) }
    }
}

// === impl Statement ===

impl Statement {
    /// The statement for the text protocol.
    pub fn sql(&self) -> String {
        self.write(&mut None)
    }

    /// The statement with its parameters.
    pub fn prepared(&self) -> (String, Vec<Param>) {
        let mut params = Some(Vec::new());
        let sql = self.write(&mut params);
        (sql, params.unwrap_or_default())
    }

    fn write(&self, params: &mut Option<Vec<Param>>) -> String {
        let mut out = String::new();
        self.body.write(&mut out, params);
        if let Some(tail) = &self.tail {
            tail.write(&mut out, params);
        }
        if let Some(end) = &self.end {
            end.write(&mut out, params);
        }
        out
    }

    /// What its text says about the order of its rows.
    pub fn order(&self) -> Order {
        self.tail.as_ref().map_or(Order::Any, Tail::order)
    }

    /// Every statement that is one step smaller.
    pub fn smaller(&self) -> Vec<Statement> {
        let mut all = Vec::new();
        if self.binary {
            all.push(Statement { binary: false, ..self.clone() });
        }
        if self.end.is_some() {
            all.push(Statement { end: None, ..self.clone() });
        }
        if let Some(tail) = &self.tail {
            all.push(Statement { tail: None, ..self.clone() });
            all.extend(tail.smaller().into_iter().map(|tail| Statement { tail: Some(tail), ..self.clone() }));
        }
        all.extend(self.body.smaller().into_iter().map(|body| Statement { body, ..self.clone() }));
        all
    }
}

/// Mixes the order of a list.
pub fn shuffled<T>(rng: &mut Rng, mut items: Vec<T>) -> Vec<T> {
    for at in (1..items.len()).rev() {
        items.swap(at, rng.below(at + 1));
    }
    items
}
