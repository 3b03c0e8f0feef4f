//! Traverses parsed `PromQL` expressions, for the lint and the mutants.

use promql_parser::parser::{AggregateExpr, Expr, VectorSelector};

/// Returns a node's children, from left to right.
pub(crate) fn children(node: &Expr) -> Vec<&Expr> {
    match node {
        Expr::Aggregate(AggregateExpr { param, expr, .. }) => {
            param.iter().map(AsRef::as_ref).chain([expr.as_ref()]).collect()
        }
        Expr::Unary(unary) => vec![&unary.expr],
        Expr::Binary(binary) => vec![&binary.lhs, &binary.rhs],
        Expr::Paren(paren) => vec![&paren.expr],
        Expr::Subquery(subquery) => vec![&subquery.expr],
        Expr::Call(call) => call.args.args.iter().map(AsRef::as_ref).collect(),
        Expr::NumberLiteral(_)
        | Expr::StringLiteral(_)
        | Expr::VectorSelector(_)
        | Expr::MatrixSelector(_)
        | Expr::Extension(_) => Vec::new(),
    }
}

/// Returns a node and all nodes below it, in preorder.
pub(crate) fn nodes(node: &Expr) -> Vec<&Expr> {
    std::iter::once(node).chain(children(node).into_iter().flat_map(nodes)).collect()
}

/// Returns the selector of a node that selects series, with or without a range.
pub(crate) fn selector(node: &Expr) -> Option<&VectorSelector> {
    match node {
        Expr::VectorSelector(selector) => Some(selector),
        Expr::MatrixSelector(matrix) => Some(&matrix.vs),
        _ => None,
    }
}

/// Returns the selectors of an expression.
pub(crate) fn selectors(expr: &Expr) -> impl Iterator<Item = &VectorSelector> {
    nodes(expr).into_iter().filter_map(selector)
}
