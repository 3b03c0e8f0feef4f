//! The rules with one thing changed, over and over. Each such mutant has to fail a test in `alerts/tests`; one that
//! survives is a part of a rule that nobody has tested. What is changed is found in the parsed rules, so that a new rule
//! is mutated without a word here.

use serde_json::{Value, json};

use super::promql::{self, COMPARISONS, Expr, Kind, SET_OPERATORS, Span};
use super::rules::{queries, without_verbs};

/// The rules with one thing changed.
pub(crate) struct Mutant {
    /// The rule, such as `PartnerLicenseUsageLow/warning`.
    pub(crate) rule: String,
    /// What is different, such as `expr 17: [1w] -> [10d12h]`.
    pub(crate) change: String,
    /// The whole rules file.
    pub(crate) rules: Value,
}

/// All mutants of a rules file.
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
    let expr = rule["expr"].as_str().unwrap();
    for (change, mutated) in of_expr(expr) {
        set(format!("expr {change}"), &["expr"], Some(mutated.into()));
    }
    if rule["alert"].is_null() {
        return mutants;
    }
    for key in ["for", "keep_firing_for"] {
        match rule[key].as_str() {
            Some(duration) => {
                set(format!("{key}: {duration} -> none"), &[key], None);
                for other in other_durations(duration) {
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
            for (change, mutated) in
                of_expr(&without_verbs(query)).into_iter().filter_map(|(change, mutated)| {
                    // Only what leaves the verbs where they are can be put back.
                    Some((change, with_verbs(query, &mutated)?))
                })
            {
                let whole = [&text[..start], &mutated, &text[start + query.len()..]].concat();
                set(format!("{key} {change}"), &["annotations", key], Some(whole.into()));
            }
        }
    }
    mutants
}

/// What becomes of an annotation whose conditions on the value, such as `{{ if gt $value 0.0`, ask for another number.
fn of_conditions(text: &str) -> Vec<(String, String)> {
    const BEFORE: &str = "{{ if gt $value ";
    let mut mutants = Vec::new();
    for (at, _) in text.match_indices(BEFORE) {
        let start = at + BEFORE.len();
        let end = start + text[start..].find([' ', '}']).unwrap();
        let number: f64 = text[start..end].parse().unwrap();
        // A day as well, for it is what times are counted in.
        for other in [-1.0, 1.0, 86_400.0].map(|more| format!("{:.1}", number + more)) {
            let change = format!("{start}: {} -> {other}", &text[start..end]);
            mutants.push((change, [&text[..start], &other, &text[end..]].concat()));
        }
    }
    mutants
}

/// Puts the verbs of a query back into what became of it.
fn with_verbs(query: &str, mutated: &str) -> Option<String> {
    let verbs = |text: &str, one: &str, other: &str| text.matches(one).count() + text.matches(other).count();
    let restored = mutated.replace("\"\"", "%q").replace("    ", "{%s}");
    (verbs(query, "%q", "%s") == verbs(&restored, "%q", "%s")).then_some(restored)
}

/// What becomes of an expression, with the place and what is changed there.
fn of_expr(text: &str) -> Vec<(String, String)> {
    let expr = promql::parse(text).unwrap();
    let mut mutants = Vec::new();
    let mut replace = |span: &Span, with: &str| {
        let (old, at) = (&text[span.clone()], span.start);
        // Half of an operation is best told by the other half.
        let change = match (old.strip_prefix(with), old.strip_suffix(with)) {
            (Some(rest), _) | (_, Some(rest)) if with.is_empty() || with.len() > 3 => {
                format!("{at}: without {}", shown(rest))
            }
            _ => format!("{at}: {} -> {}", shown(old), shown(with)),
        };
        mutants.push((change, [&text[..at], with, &text[span.end..]].concat()));
    };
    for node in expr.nodes() {
        for (span, with) in of_node(text, node) {
            replace(&span, &with);
        }
    }
    mutants
}

/// On one line, and not too long.
fn shown(text: &str) -> String {
    let text = text.split_whitespace().collect::<Vec<_>>().join(" ");
    match text.char_indices().nth(100) {
        Some((end, _)) => format!("{}…", &text[..end]),
        None => text,
    }
}

fn of_node(text: &str, node: &Expr) -> Vec<(Span, String)> {
    let of = |expr: &Expr| text[expr.span.clone()].to_owned();
    let instead = |span: &Span, others: &[&str]| -> Vec<(Span, String)> {
        others.iter().map(|other| (span.clone(), (*other).to_owned())).collect()
    };
    match &node.kind {
        Kind::Text | Kind::Parentheses(_) => Vec::new(),
        Kind::Number(number) => other_numbers(*number).map(|other| (node.span.clone(), other)).into(),
        Kind::Selector { metric, matchers } => (0..matchers.len())
            .filter(|left_out| !matchers[*left_out].value.is_empty())
            .map(|left_out| {
                let kept = matchers.iter().enumerate().filter(|(n, _)| *n != left_out);
                let kept: Vec<_> =
                    kept.map(|(_, m)| format!("{}{}\"{}\"", m.label, m.operator, m.value)).collect();
                (node.span.clone(), format!("{metric}{{{}}}", kept.join(",")))
            })
            .collect(),
        Kind::Window { length, .. } => {
            let length = length.clone();
            other_durations(&text[length.clone()]).map(|other| (length.clone(), other)).into()
        }
        Kind::Offset { of: inner, by } => {
            let mut all: Vec<_> = other_durations(&text[by.clone()]).map(|other| (by.clone(), other)).into();
            all.push((node.span.clone(), of(inner)));
            all
        }
        Kind::Call { function, name, arguments } => {
            let mut all = instead(name, other_functions(function));
            // Without the function: of a range what is there now, of other things the first.
            let inner = arguments.first().map(|first| match &first.kind {
                Kind::Window { of: inner, .. } => of(inner),
                Kind::Offset { of: inner, by } => match &inner.kind {
                    Kind::Window { of: inner, .. } => format!("{} offset {}", of(inner), &text[by.clone()]),
                    _ => of(first),
                },
                _ => of(first),
            });
            all.extend(inner.map(|inner| (node.span.clone(), inner)));
            all
        }
        Kind::Aggregate { operator, name, by, of: inner } => {
            let mut all = instead(name, other_aggregations(operator));
            // Each replica for itself: with all its labels, or with its instance alone.
            all.push((node.span.clone(), format!("({})", of(inner))));
            if let Some(last) = by.last().filter(|_| by.iter().all(|label| label.name != "instance")) {
                all.push((last.span.clone(), format!("{}, instance", last.name)));
            }
            all.extend(by.iter().map(|label| (label.span.clone(), String::new())).map(without_comma(text)));
            all
        }
        Kind::Binary { operator, symbol, matching, left, right } => {
            let mut all = instead(symbol, other_operators(operator));
            if SET_OPERATORS.contains(&operator.as_str()) {
                all.push((node.span.clone(), of(left)));
                if operator == "or" {
                    all.push((node.span.clone(), of(right)));
                }
            }
            if COMPARISONS.contains(&operator.as_str()) {
                all.push((node.span.clone(), of(left)));
            }
            if let Some(matching) = matching {
                all.push((matching.span.clone(), String::new()));
                let labels = matching.on.iter();
                all.extend(labels.map(|label| (label.span.clone(), String::new())).map(without_comma(text)));
            }
            all
        }
    }
}

/// A label leaves a list together with the comma behind it.
fn without_comma(text: &str) -> impl Fn((Span, String)) -> (Span, String) + '_ {
    |(span, with)| {
        let comma = text[span.end..].starts_with(',');
        (span.start..span.end + usize::from(comma), with)
    }
}

/// A tenth more and a tenth less; around what counts things, one.
fn other_numbers(number: f64) -> [String; 2] {
    if number == 0.0 {
        ["1".into(), "(-1)".into()]
    } else {
        [0.9, 1.1].map(|factor| (number * factor).to_string())
    }
}

/// Two thirds, and half as long again.
fn other_durations(duration: &str) -> [String; 2] {
    let seconds = promql::seconds(duration).unwrap();
    [seconds * 2 / 3, seconds * 3 / 2].map(|seconds| format!("{seconds}s"))
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
        "increase" => &["delta", "rate"],
        "absent" | "label_replace" | "time" | "timestamp" => &[],
        other => panic!("say what else {other} could be"),
    }
}

fn other_aggregations(operator: &str) -> &'static [&'static str] {
    match operator {
        "max" => &["min", "sum"],
        "min" => &["max", "sum"],
        "sum" => &["max", "min"],
        // Which series there are is all that it tells.
        "group" => &[],
        other => panic!("say what else {other} could be"),
    }
}

fn other_operators(operator: &str) -> &'static [&'static str] {
    match operator {
        "<" => &["<=", ">="],
        "<=" => &["<", ">"],
        ">" => &[">=", "<="],
        ">=" => &[">", "<"],
        "==" => &["!="],
        "!=" => &["=="],
        "+" => &["-"],
        "-" => &["+"],
        "*" => &["/"],
        "/" => &["*"],
        "and" => &["unless"],
        "unless" | "or" => &["and"],
        other => panic!("say what else {other} could be"),
    }
}
