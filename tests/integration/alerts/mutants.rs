//! Mutants of the alert rules: the rules with one change each. Each must fail a test in `alerts/tests`; a mutant that
//! survives shows a part of a rule that no test covers. The changes are derived from the parsed rules, so that new
//! rules are mutated without a change here.

use std::convert::Infallible;
use std::time::Duration;

use promql_parser::label::Labels;
use promql_parser::parser::token::{
    T_ADD, T_DIV, T_EQLC, T_GROUP, T_GTE, T_GTR, T_LAND, T_LOR, T_LSS, T_LTE, T_LUNLESS, T_MAX, T_MIN, T_MUL,
    T_NEQ, T_SUB, T_SUM, TokenType,
};
use promql_parser::parser::{
    self, AggregateExpr, BinModifier, BinaryExpr, Call, Expr, Function, LabelModifier, MatrixSelector,
    Offset, ParenExpr, SubqueryExpr, VectorSelector,
};
use promql_parser::util::visitor::{ExprVisitorMut, walk_expr_mut};
use promql_parser::util::{display_duration, parse_duration};
use serde_json::{Value, json};

use super::promql::nodes;
use super::rules::{queries, with_verbs, without_verbs};

/// The rules with one change.
pub(crate) struct Mutant {
    /// The rule, such as `PartnerLicenseUsageLow/warning`.
    pub(crate) rule: String,
    /// The change, such as `expr 2: [1w] -> [10d12h]`; the number is that of the node, in preorder.
    pub(crate) change: String,
    /// The whole rules file.
    pub(crate) rules: Value,
}

impl Mutant {
    /// Returns the name of the rule without the severity.
    pub(crate) fn base_name(&self) -> &str {
        self.rule.split('/').next().unwrap_or_default()
    }
}

/// Returns all mutants of a rules file.
pub(crate) fn of(rules: &Value) -> Vec<Mutant> {
    let mut mutants = Vec::new();
    for (g, group) in rules["groups"].as_array().unwrap().iter().enumerate() {
        for (r, rule) in group["rules"].as_array().unwrap().iter().enumerate() {
            let name = rule["alert"].as_str().map_or_else(
                || rule["record"].as_str().unwrap().to_owned(),
                |alert| format!("{alert}/{}", rule["labels"]["severity"].as_str().unwrap()),
            );
            let mut add = |change: String, mutated: Option<Value>| {
                let mut rules = rules.clone();
                let list = rules["groups"][g]["rules"].as_array_mut().unwrap();
                match mutated {
                    Some(mutated) => list[r] = mutated,
                    None => drop(list.remove(r)),
                }
                mutants.push(Mutant { rule: name.clone(), change, rules });
            };
            add("left out".to_owned(), None);
            for (change, mutated) in of_rule(rule) {
                add(change, Some(mutated));
            }
        }
    }
    mutants
}

fn of_rule(rule: &Value) -> Vec<(String, Value)> {
    let mut mutants = Vec::new();
    let mut set = |change: String, pointer: &[&str], value: Option<Value>| {
        let (key, path) = pointer.split_last().unwrap();
        let mut mutated = rule.clone();
        let object = path.iter().fold(&mut mutated, |value, key| &mut value[*key]).as_object_mut().unwrap();
        match value {
            Some(value) => drop(object.insert((*key).to_owned(), value)),
            None => drop(object.shift_remove(*key)),
        }
        mutants.push((change, mutated));
    };
    for (change, mutated) in of_expr(rule["expr"].as_str().unwrap()) {
        set(format!("expr {change}"), &["expr"], Some(mutated.into()));
    }
    if rule["alert"].is_null() {
        return mutants;
    }
    for key in ["for", "keep_firing_for"] {
        match rule[key].as_str() {
            Some(duration) => {
                set(format!("{key}: {duration} -> none"), &[key], None);
                for other in other_durations(parse_duration(duration).unwrap()) {
                    let other = display_duration(&other);
                    set(format!("{key}: {duration} -> {other}"), &[key], Some(other.into()));
                }
            }
            None => set(format!("{key}: none -> 15m"), &[key], Some("15m".into())),
        }
    }
    let severity = rule["labels"]["severity"].as_str().unwrap();
    let other = if severity == "warning" { "critical" } else { "warning" };
    set(format!("severity: {severity} -> {other}"), &["labels", "severity"], Some(json!(other)));
    for (key, text) in rule["annotations"].as_object().unwrap() {
        let text = text.as_str().unwrap();
        set(format!("{key}: left out"), &["annotations", key], None);
        for (change, mutated) in of_conditions(text) {
            set(format!("{key} {change}"), &["annotations", key], Some(mutated.into()));
        }
        for (start, query) in queries(text) {
            for (change, mutated) in of_expr(&without_verbs(query)) {
                // A mutant that lacks a verb does not match the arguments that follow the query.
                let Some(mutated) = with_verbs(query, &mutated) else { continue };
                let whole = [&text[..start], &mutated, &text[start + query.len()..]].concat();
                set(format!("{key}, query at {start}, {change}"), &["annotations", key], Some(whole.into()));
            }
        }
    }
    mutants
}

/// Returns the mutants of an annotation with another number in a condition on the value, such as `{{ if gt $value 0.0`.
fn of_conditions(text: &str) -> Vec<(String, String)> {
    const BEFORE: &str = "{{ if gt $value ";
    let mut mutants = Vec::new();
    for (at, _) in text.match_indices(BEFORE) {
        let start = at + BEFORE.len();
        let end = start + text[start..].find([' ', '}']).unwrap();
        let number: f64 = text[start..end].parse().unwrap();
        // The numbers are one more, one less, and one day more, because times are counted in days.
        for other in [-1.0, 1.0, 86_400.0].map(|more| format!("{:.1}", number + more)) {
            let change = format!("{start}: {} -> {other}", &text[start..end]);
            mutants.push((change, [&text[..start], &other, &text[end..]].concat()));
        }
    }
    mutants
}

/// Returns the mutants of an expression, each with the number of the changed node and the change.
fn of_expr(text: &str) -> Vec<(String, String)> {
    let expr = parser::parse(text).unwrap();
    let mut mutants = Vec::new();
    for (n, node) in nodes(&expr).into_iter().enumerate() {
        for (change, mutated) in of_node(node) {
            let mut whole = expr.clone();
            let Ok(_) = walk_expr_mut(&mut Replace { skip: n, with: Some(mutated) }, &mut whole);
            let written = whole.to_string();
            assert_eq!(
                parser::parse(&written).as_ref(),
                Ok(&whole),
                "{written} is parsed as another expression"
            );
            mutants.push((format!("{n}: {}", shortened(&change)), written));
        }
    }
    mutants
}

/// Replaces one node of an expression.
struct Replace {
    /// How many nodes come before it, in preorder.
    skip: usize,
    with: Option<Expr>,
}

impl ExprVisitorMut for Replace {
    type Error = Infallible;

    fn pre_visit(&mut self, node: &mut Expr) -> Result<bool, Infallible> {
        if self.skip == 0 {
            *node = self.with.take().expect("the walk ends with the replacement");
            return Ok(false);
        }
        self.skip -= 1;
        Ok(true)
    }
}

fn shortened(text: &str) -> String {
    match text.char_indices().nth(100) {
        Some((end, _)) => format!("{}…", &text[..end]),
        None => text.to_owned(),
    }
}

/// Returns the replacements of a node, each with a description of the change.
fn of_node(node: &Expr) -> Vec<(String, Expr)> {
    match node {
        Expr::StringLiteral(_) | Expr::Paren(_) | Expr::Extension(_) => Vec::new(),
        Expr::NumberLiteral(number) => other_numbers(number.val)
            .map(|other| (format!("{} -> {other}", number.val), Expr::from(other)))
            .into(),
        Expr::Unary(unary) => vec![("without -".to_owned(), (*unary.expr).clone())],
        Expr::VectorSelector(selector) => {
            of_selector(selector).map(|(change, selector)| (change, Expr::VectorSelector(selector))).collect()
        }
        Expr::MatrixSelector(matrix) => {
            let ranges = other_ranges(matrix.range)
                .map(|(change, range)| (change, MatrixSelector { range, ..matrix.clone() }));
            let selectors =
                of_selector(&matrix.vs).map(|(change, vs)| (change, MatrixSelector { vs, ..matrix.clone() }));
            ranges.chain(selectors).map(|(change, matrix)| (change, Expr::MatrixSelector(matrix))).collect()
        }
        Expr::Subquery(subquery) => {
            let ranges = other_ranges(subquery.range)
                .map(|(change, range)| (change, SubqueryExpr { range, ..subquery.clone() }));
            let offsets = other_offsets(subquery.offset.as_ref())
                .map(|(change, offset)| (change, SubqueryExpr { offset, ..subquery.clone() }));
            ranges.chain(offsets).map(|(change, subquery)| (change, Expr::Subquery(subquery))).collect()
        }
        Expr::Call(call) => of_call(call),
        Expr::Aggregate(aggregate) => of_aggregate(aggregate),
        Expr::Binary(binary) => of_binary(binary),
    }
}

/// Returns other offsets, and each matcher left out.
fn of_selector(selector: &VectorSelector) -> impl Iterator<Item = (String, VectorSelector)> {
    let offsets = other_offsets(selector.offset.as_ref())
        .map(|(change, offset)| (change, VectorSelector { offset, ..selector.clone() }));
    let matchers = &selector.matchers.matchers;
    let kept = matchers.iter().enumerate().map(|(n, matcher)| {
        let mut kept = selector.clone();
        kept.matchers.matchers.remove(n);
        (format!("without {{{matcher}}}"), kept)
    });
    offsets.chain(kept)
}

fn of_call(call: &Call) -> Vec<(String, Expr)> {
    let mut mutants = Vec::new();
    for name in other_functions(call.func.name) {
        let func = Function { name, ..call.func.clone() };
        mutants.push((format!("{} -> {name}", call.func.name), Expr::Call(Call { func, ..call.clone() })));
    }
    // The function is removed, which leaves the current value of a range, or otherwise the first argument.
    let inner = call.args.args.first().map(|first| match &**first {
        Expr::MatrixSelector(matrix) => Expr::VectorSelector(matrix.vs.clone()),
        Expr::Subquery(subquery) => in_parentheses(&subquery.expr),
        first => in_parentheses(first),
    });
    mutants.extend(inner.map(|inner| (format!("without {}", call.func.name), inner)));
    mutants
}

fn of_aggregate(aggregate: &AggregateExpr) -> Vec<(String, Expr)> {
    let op = aggregate.op;
    let mut mutants = Vec::new();
    for other in other_aggregations(op) {
        mutants.push((format!("{op} -> {other}"), AggregateExpr { op: other, ..aggregate.clone() }));
    }
    if let Some(labels) = &aggregate.modifier {
        let mut others = one_left_out(labels);
        if let LabelModifier::Include(labels) = labels
            && !labels.is_empty()
            && labels.labels.iter().all(|label| label != "instance")
        {
            others.push(LabelModifier::Include(labels.clone().append("instance".to_owned())));
        }
        for other in others {
            let change = format!("({}) -> ({})", labels.labels(), other.labels());
            // An empty list is formatted, and parsed, as no list.
            let modifier = Some(other).filter(|other| !other.is_include() || !other.labels().is_empty());
            mutants.push((change, AggregateExpr { modifier, ..aggregate.clone() }));
        }
    }
    let mut mutants: Vec<_> =
        mutants.into_iter().map(|(change, aggregate)| (change, Expr::Aggregate(aggregate))).collect();
    // The aggregation is removed, so that each replica is a series of its own.
    mutants.push((format!("without {op}"), in_parentheses(&aggregate.expr)));
    mutants
}

fn of_binary(binary: &BinaryExpr) -> Vec<(String, Expr)> {
    let op = binary.op;
    let mut mutants = Vec::new();
    for other in other_operators(op) {
        // The parentheses keep an operator with higher precedence from changing the operands.
        let (lhs, rhs) = (in_parentheses(&binary.lhs).into(), in_parentheses(&binary.rhs).into());
        let mutant = BinaryExpr { op: other, lhs, rhs, ..binary.clone() };
        mutants.push((format!("{op} -> {other}"), Expr::Binary(mutant)));
    }
    if op.is_set_operator() || op.is_comparison_operator() {
        mutants.push((format!("without {op} {}", binary.rhs), in_parentheses(&binary.lhs)));
    }
    if op.id() == T_LOR {
        mutants.push((format!("without {} {op}", binary.lhs), in_parentheses(&binary.rhs)));
    }
    let with_modifier = |modifier| Expr::Binary(BinaryExpr { modifier, ..binary.clone() });
    if let Some(modifier @ BinModifier { matching: Some(labels), .. }) = &binary.modifier {
        let without = op.is_set_operator().then(|| modifier.clone().with_matching(None));
        mutants.push((format!("without on ({})", labels.labels()), with_modifier(without)));
        for other in one_left_out(labels) {
            let change = format!("on ({}) -> on ({})", labels.labels(), other.labels());
            mutants.push((change, with_modifier(Some(modifier.clone().with_matching(Some(other))))));
        }
    }
    mutants
}

/// Returns an expression that can replace any other.
fn in_parentheses(expr: &Expr) -> Expr {
    match expr {
        Expr::Binary(_) | Expr::Unary(_) => Expr::Paren(ParenExpr { expr: Box::new(expr.clone()) }),
        other => other.clone(),
    }
}

/// Returns a list of labels with each of them left out.
fn one_left_out(labels: &LabelModifier) -> Vec<LabelModifier> {
    let all = &labels.labels().labels;
    let lists = (0..all.len()).map(|n| {
        let mut kept = all.clone();
        kept.remove(n);
        Labels { labels: kept }
    });
    let modifier = if labels.is_include() { LabelModifier::Include } else { LabelModifier::Exclude };
    lists.map(modifier).collect()
}

/// Returns a tenth less and a tenth more; of 0, one more and one less.
fn other_numbers(number: f64) -> [f64; 2] {
    if number == 0.0 { [1.0, -1.0] } else { [0.9, 1.1].map(|factor| number * factor) }
}

/// Returns two thirds, and half as long again.
fn other_durations(duration: Duration) -> [Duration; 2] {
    [duration.as_secs() * 2 / 3, duration.as_secs() * 3 / 2].map(Duration::from_secs)
}

fn other_ranges(range: Duration) -> impl Iterator<Item = (String, Duration)> {
    other_durations(range).into_iter().map(move |other| {
        (format!("[{}] -> [{}]", display_duration(&range), display_duration(&other)), other)
    })
}

fn other_offsets(offset: Option<&Offset>) -> impl Iterator<Item = (String, Option<Offset>)> {
    let others = offset.map(|offset| match offset {
        Offset::Pos(by) => {
            let [shorter, longer] = other_durations(*by).map(|by| Some(Offset::Pos(by)));
            [shorter, longer, None].map(|other| {
                let shown = other.as_ref().map_or_else(|| "none".to_owned(), ToString::to_string);
                (format!("offset {offset} -> {shown}"), other)
            })
        }
        Offset::Neg(_) => panic!("add the mutants of offset {offset}"),
    });
    others.into_iter().flatten()
}

fn other_functions(function: &str) -> &'static [&'static str] {
    match function {
        "last_over_time" => &["max_over_time", "min_over_time"],
        "max_over_time" => &["min_over_time", "last_over_time"],
        "min_over_time" => &["max_over_time", "last_over_time"],
        "avg_over_time" => &["max_over_time", "min_over_time", "last_over_time"],
        "present_over_time" => &["absent_over_time"],
        "count_over_time" => &["sum_over_time"],
        "clamp_max" => &["clamp_min"],
        "sort_desc" => &["sort"],
        "increase" => &["delta", "rate"],
        "changes" => &["resets"],
        "absent" | "label_replace" | "time" | "timestamp" => &[],
        other => panic!("add the mutants of {other}"),
    }
}

fn other_aggregations(operator: TokenType) -> impl Iterator<Item = TokenType> {
    let others: &[_] = match operator.id() {
        T_MAX => &[T_MIN, T_SUM],
        T_MIN => &[T_MAX, T_SUM],
        T_SUM => &[T_MAX, T_MIN],
        // Only the existence of the series matters.
        T_GROUP => &[],
        _ => panic!("add the mutants of {operator}"),
    };
    others.iter().map(|id| TokenType::new(*id))
}

fn other_operators(operator: TokenType) -> impl Iterator<Item = TokenType> {
    let others: &[_] = match operator.id() {
        T_LSS => &[T_LTE, T_GTE],
        T_LTE => &[T_LSS, T_GTR],
        T_GTR => &[T_GTE, T_LTE],
        T_GTE => &[T_GTR, T_LSS],
        T_EQLC => &[T_NEQ],
        T_NEQ => &[T_EQLC],
        T_ADD => &[T_SUB],
        T_SUB => &[T_ADD],
        T_MUL => &[T_DIV],
        T_DIV => &[T_MUL],
        T_LAND => &[T_LUNLESS],
        T_LUNLESS | T_LOR => &[T_LAND],
        _ => panic!("add the mutants of {operator}"),
    };
    others.iter().map(|id| TokenType::new(*id))
}
