//! How is a query answered that no merge of shards answers?
//!
//! By one MySQL server over copies of the tables: every place where the query names a table gets a
//! temporary table of its own, filled from the shards with the columns that the query names and the
//! rows that its conditions on that table alone let through. The query keeps its text; only names are
//! cut out of it.
//!
//! A common table expression that is used several times is written once for each use, because MySQL
//! opens the temporary tables in it again for each.

use std::collections::HashMap;
use std::ops::Range;
use std::sync::Arc;

use super::context::Planner;
use super::references::{self, Scan};
use super::scope::{Analysis, Block, Source, SourceKind, TableUse};
use super::{
    Gather, GatherSource, GatherTable, Node, Plan, Routing, StatementKind, insert, predicate, pushdown,
    qualifiers, scratch_database, session_values,
};
use crate::error::{Result, SqlError};
use crate::sql::{Edits, Piece, PieceList, TokenKind};
use crate::vschema::Table;

/// The most temporary tables of one query.
const MOST_TABLES: usize = 128;

/// The longest name of a database in MySQL, in characters.
const LONGEST_NAME: usize = 64;

/// Plans a query that was refused with this error; the error itself where copies do not help.
pub(super) fn plan(planner: &Planner<'_>, kind: StatementKind, refused: SqlError) -> Result<Plan> {
    let is_off = crate::sql::directive(&planner.statement, "GATHER").is_some_and(|value| value == "off");
    if is_off || !matches!(kind, StatementKind::Select | StatementKind::LockingSelect) {
        return Err(refused);
    }
    let scan = references::scan(planner);
    if scan.refused.is_some() || scan.references.is_empty() {
        return Err(refused);
    }
    let tables = scan
        .references
        .iter()
        .map(|own| planner.resolve(own.qualifier.as_deref(), &own.table))
        .collect::<Result<Vec<_>>>();
    let system = scan.references.iter().any(|own| {
        own.qualifier.as_deref().is_some_and(|name| crate::sql::is_system_schema(name.as_bytes()))
    });
    if system || planner.system_schema().is_some() {
        return Err(refused);
    }
    let tables = match tables {
        Ok(tables) => tables,
        // What is no query to the parser may name no table where one was seen.
        Err(_) if refused.code() == 1064 => return Err(refused),
        Err(unknown) => return Err(unknown),
    };
    let mut writer = Writer::new(planner, &scan, &tables);
    let body = planner.statement.body;
    let pieces = writer.emit(body.0..body.1, None)?;
    let mut list = PieceList::default();
    list.push(Piece::Leading);
    for piece in pieces {
        list.push(piece);
    }
    list.push(Piece::Trailing);
    let mut names: Vec<String> = tables.iter().map(|table| table.full_name().to_string()).collect();
    names.sort();
    names.dedup();
    let gather = Gather {
        tables: writer.copies,
        query: list.finish(),
        names: identifiers(planner),
        aliases: writer.aliases,
        refusal: if refused.code() == 1064 {
            "this kind of query".into()
        } else {
            construct(&refused).into()
        },
        syntax: (refused.code() == 1064).then(|| refused.client_text().into()),
    };
    Ok(planner.plan(kind, Node::Gather(gather), names))
}

/// What a refusal names, without the words around it.
fn construct(refused: &SqlError) -> String {
    let text = refused.client_text();
    text.strip_prefix("VT12001: unsupported: ").unwrap_or(&text).to_owned()
}

/// Every name in the statement, in lower case, sorted.
fn identifiers(planner: &Planner<'_>) -> Vec<Arc<str>> {
    let text = planner.statement.text;
    let names = planner.statement.tokens.iter().filter_map(|token| token.identifier(text));
    let mut names: Vec<Arc<str>> = names.map(|name| name.to_lowercase().into()).collect();
    names.sort();
    names.dedup();
    names
}

/// Writes the query over the copies.
struct Writer<'a> {
    planner: &'a Planner<'a>,
    scan: &'a Scan,
    tables: &'a [Arc<Table>],
    /// Qualifiers and the session's own values.
    base: Edits,
    copies: Vec<GatherTable>,
    /// The first copy of each reference.
    first: HashMap<usize, usize>,
    /// The names that a common table expression must be written under.
    wanted: HashMap<usize, Vec<String>>,
    /// How many names each has had.
    written: HashMap<usize, usize>,
    /// The expressions whose text is being written, and under which name.
    inside: Vec<(usize, String)>,
    aliases: Vec<(Arc<str>, Arc<str>)>,
}

// === impl Writer ===

impl<'a> Writer<'a> {
    fn new(planner: &'a Planner<'a>, scan: &'a Scan, tables: &'a [Arc<Table>]) -> Self {
        let mut base = Edits::default();
        session_values::replace_in(planner, planner.statement.tokens, &mut base, false);
        let in_reference = |at: u32| scan.references.iter().any(|own| own.range.contains(&at));
        for (token, keyspace) in qualifiers::find(planner) {
            if in_reference(token.start) {
                continue;
            }
            base.replace(token.start..token.end, vec![scratch_piece(&keyspace)]);
        }
        Self {
            planner,
            scan,
            tables,
            base,
            copies: Vec::new(),
            first: HashMap::new(),
            wanted: HashMap::new(),
            written: HashMap::new(),
            inside: Vec::new(),
            aliases: Vec::new(),
        }
    }

    /// The text of a range that belongs to `body`, with all names replaced.
    fn emit(&mut self, range: Range<u32>, body: Option<usize>) -> Result<Vec<Piece>> {
        let mut edits = self.base.clone();
        let within = |own: &Range<u32>| own.start >= range.start && own.end <= range.end;
        let scan = self.scan;
        for (index, own) in scan.references.iter().enumerate() {
            if own.body == body && within(&own.range) {
                let pieces = self.reference(index)?;
                edits.replace(own.range.clone(), pieces);
            }
        }
        for own in scan.uses.iter().filter(|own| own.body == body && within(&own.range)) {
            let name = if own.recursive { self.name_inside(own.cte) } else { self.next_name(own.cte) };
            let original = &scan.ctes[own.cte].name;
            if name == *original {
                continue;
            }
            let mut pieces = vec![insert::identifier_piece(&name)];
            if !own.has_alias {
                pieces.extend([Piece::text(" AS "), insert::identifier_piece(original)]);
            }
            edits.replace(own.range.clone(), pieces);
        }
        // Lists further inside ask for names of lists further outside.
        for list in scan.lists.iter().rev().filter(|list| list.body == body) {
            let (Some(first), Some(last)) = (list.ctes.first(), list.ctes.last()) else { continue };
            let whole = scan.ctes[*first].range.start..scan.ctes[*last].range.end;
            if within(&whole) {
                let pieces = self.list(&list.ctes)?;
                edits.replace(whole, pieces);
            }
        }
        self.keep_titles(&range, body, &mut edits);
        let mut list = PieceList::default();
        edits.write(&self.planner.statement, range, &mut list);
        Ok(list.into_pieces())
    }

    /// A column without an alias has its own text as its title: where that changes, it becomes an
    /// alias.
    fn keep_titles(&self, range: &Range<u32>, body: Option<usize>, edits: &mut Edits) {
        let statement = &self.planner.statement;
        let items = self.scan.selects.iter().filter(|own| own.body == body).flat_map(|own| &own.items);
        for item in items {
            let tokens = statement.tokens.get(item.clone()).unwrap_or_default();
            let tokens = session_values::skip_modifiers(statement.text, tokens);
            let (Some(first), Some(last)) = (tokens.first(), tokens.last()) else { continue };
            let inside = first.start >= range.start && last.end <= range.end;
            let is_name = |token: &crate::sql::Token| {
                matches!(token.kind, TokenKind::Word | TokenKind::Quoted | TokenKind::Dot | TokenKind::Star)
            };
            let plain = tokens.iter().all(is_name) && tokens.len() <= 5;
            if inside && !plain && edits.touches(&(first.start..last.end)) {
                session_values::give_alias(statement, tokens, edits);
            }
        }
    }

    /// A list of common table expressions, each under every name that is wanted.
    fn list(&mut self, ctes: &[usize]) -> Result<Vec<Piece>> {
        let mut written: Vec<Vec<Vec<Piece>>> = Vec::new();
        for &cte in ctes.iter().rev() {
            let own = &self.scan.ctes[cte];
            let names = self.wanted.remove(&cte).unwrap_or_else(|| vec![own.name.clone()]);
            if names.len() > 1 && !pushdown::is_repeatable(self.planner, &own.tokens) {
                return Err(SqlError::unsupported(
                    "common table expressions with LIMIT or random values that are used several times",
                ));
            }
            let mut all = Vec::new();
            for name in names {
                let mut pieces = vec![insert::identifier_piece(&name)];
                self.inside.push((cte, name));
                pieces.extend(self.emit(own.name_range.end..own.range.end, Some(cte))?);
                self.inside.pop();
                all.push(pieces);
            }
            written.push(all);
        }
        let mut pieces = Vec::new();
        for (place, own) in written.into_iter().rev().flatten().enumerate() {
            if place > 0 {
                pieces.push(Piece::text(", "));
            }
            pieces.extend(own);
        }
        Ok(pieces)
    }

    fn name_inside(&self, cte: usize) -> String {
        let inside = self.inside.iter().rev().find(|(own, _)| *own == cte);
        inside.map_or_else(|| self.scan.ctes[cte].name.clone(), |(_, name)| name.clone())
    }

    fn next_name(&mut self, cte: usize) -> String {
        let count = self.written.entry(cte).or_default();
        *count += 1;
        let original = &self.scan.ctes[cte].name;
        let name = if *count == 1 {
            original.clone()
        } else {
            let name = format!("{original}#{count}");
            self.aliases.push((name.as_str().into(), original.as_str().into()));
            name
        };
        self.wanted.entry(cte).or_default().push(name.clone());
        name
    }

    /// The copy that stands for a reference here.
    fn reference(&mut self, index: usize) -> Result<Vec<Piece>> {
        let own = &self.scan.references[index];
        let table = &self.tables[index];
        if self.copies.len() >= MOST_TABLES {
            return Err(SqlError::unsupported("queries that name this many tables"));
        }
        let shown_as: Arc<str> = match &own.qualifier {
            Some(qualifier) => qualifier.as_str().into(),
            None => self.planner.keyspace().map_or_else(|| table.keyspace.clone(), Arc::from),
        };
        if scratch_database(&shown_as).chars().count() > LONGEST_NAME {
            return Err(SqlError::unsupported("copies of tables of a keyspace with a name this long"));
        }
        let name: Arc<str> = format!("gathered_{}", self.copies.len()).into();
        let source = match self.first.get(&index) {
            Some(first) => GatherSource::Copy(self.root(*first)),
            None => self.fetch(index),
        };
        let all_columns = self.needs_all(index);
        if let GatherSource::Copy(from) = source {
            self.copies[from].all_columns |= all_columns;
        }
        self.first.entry(index).or_insert(self.copies.len());
        self.copies.push(GatherTable {
            name: name.clone(),
            shown_as: shown_as.clone(),
            keyspace: table.keyspace.clone(),
            table: table.name.clone(),
            all_columns,
            source,
        });
        let mut pieces = Vec::new();
        if own.is_statement {
            pieces.push(Piece::text("SELECT * FROM "));
        }
        pieces.extend([scratch_piece(&shown_as), Piece::text("."), insert::identifier_piece(&name)]);
        if !own.has_alias {
            pieces.extend([Piece::text(" AS "), insert::identifier_piece(&own.alias)]);
        }
        Ok(pieces)
    }

    fn root(&self, copy: usize) -> usize {
        match self.copies[copy].source {
            GatherSource::Copy(from) => from,
            GatherSource::Fetch(_) | GatherSource::Lock(_) => copy,
        }
    }

    fn needs_all(&self, index: usize) -> bool {
        let own = &self.scan.references[index];
        let select = &self.scan.selects[own.select];
        self.scan.natural || select.wildcard || select.wildcards.contains(&own.alias)
    }

    /// How the rows of a reference are read. Equal reads are done once.
    fn fetch(&self, index: usize) -> GatherSource {
        let (own, table) = (&self.scan.references[index], &self.tables[index]);
        let pushed = pushdown::conditions(self.planner, self.scan, self.tables, index);
        let mut analysis = Analysis::default();
        analysis.uses.push(TableUse {
            table: table.clone(),
            block: 0,
            name: (own.range.start, own.range.end),
            has_alias: true,
            nullable: false,
        });
        let source = Source { name: own.alias.clone(), keyspace: None, kind: SourceKind::Use(0) };
        analysis.blocks.push(Block { sources: vec![source], ..Block::default() });
        analysis.roots.push(0);
        analysis.blocks[0].facts = pushdown::facts(self.planner, &analysis, &pushed);
        let (routing, split) = alone(self.planner, &analysis);

        let mut edits = Edits::default();
        qualifiers::replace_all(self.planner, &mut edits);
        if let Some(range) = split {
            edits.replace(range, vec![Piece::InList]);
        }
        let mut list = PieceList::default();
        list.push_text(b"FROM ");
        list.push(Piece::Schema);
        list.push_text(b".");
        list.push(insert::identifier_piece(&table.name));
        if !pushed.is_empty() {
            list.push_text(b" AS ");
            list.push(insert::identifier_piece(&own.alias));
        }
        for (place, condition) in pushed.iter().enumerate() {
            list.push_text(if place == 0 { b" WHERE (" } else { b" AND (" });
            let tokens = &self.planner.statement.tokens[condition.tokens.clone()];
            if let (Some(first), Some(last)) = (tokens.first(), tokens.last()) {
                edits.write(&self.planner.statement, first.start..last.end, &mut list);
            }
            list.push_text(b")");
        }
        let lock = self.scan.lock.as_ref().filter(|(select, _)| *select == own.select);
        if let Some((_, tokens)) = lock {
            list.push_text(b" ");
            let tokens = &self.planner.statement.tokens[tokens.clone()];
            if let (Some(first), Some(last)) = (tokens.first(), tokens.last()) {
                edits.write(&self.planner.statement, first.start..last.end, &mut list);
            }
        }
        let route = super::Route {
            keyspace: Some(table.keyspace.clone()),
            routing,
            query: list.finish(),
            order: Vec::new(),
        };
        let source = if lock.is_some() { GatherSource::Lock(route) } else { GatherSource::Fetch(route) };
        let equal = self.copies.iter().position(|copy| copy.source == source && copy.table == table.name);
        equal.map_or(source, GatherSource::Copy)
    }
}

/// The quoted name of the database that holds the copies of a keyspace's tables.
fn scratch_piece(keyspace: &str) -> Piece {
    insert::identifier_piece(&scratch_database(keyspace))
}

/// The routing of a table that is read alone, by the facts of the analysis' only block, and the bytes
/// of the IN list that is cut by shard.
fn alone(planner: &Planner<'_>, analysis: &Analysis) -> (Routing, Option<Range<u32>>) {
    let Some(own) = analysis.uses.first() else { return (Routing::Scatter, None) };
    let table = &own.table;
    match &table.pinned {
        Some(id) => (predicate::pinned(id.clone()), None),
        None if !table.sharded => (Routing::Unsharded, None),
        None if table.is_reference() => (Routing::AnyShard, None),
        None if analysis.blocks.iter().any(|block| block.facts.impossible) => (Routing::None, None),
        None => match predicate::options(planner, analysis, 0) {
            Some((_, routing, split)) => (routing, split),
            None => (Routing::Scatter, None),
        },
    }
}
