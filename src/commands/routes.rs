//! Routes of alerts about customers: reads a list of customers and their account managers' addresses, and writes it into
//! the configuration of Alertmanager.
//!
//! The managers get the mail that the owners of licences get, one for all of their customers: a route for each customer
//! would be a mail for each customer.

use std::collections::BTreeMap;
use std::path::Path;

use anyhow::Context;
use csv::{ReaderBuilder, StringRecord, Trim};
use uuid::Uuid;

/// The line of the configuration below which the routes are written.
const PLACE: &str = "      # `partner-license-exporter export alerts --routes FILE.csv` writes the routes to account managers here.\n";
/// The lines around the routes, and around the receivers at the end of the file: what is between them is replaced.
const ROUTES: (&str, &str) =
    ("      # Account managers: begin of routes\n", "      # Account managers: end of routes\n");
const RECEIVERS: (&str, &str) =
    ("  # Account managers: begin of receivers\n", "  # Account managers: end of receivers\n");
/// The receiver whose mail the account managers get.
const OWNERS: &str = "  - name: licence-owners\n";
const TO: &str = "      - to: ";

/// Who looks after which customers.
#[derive(Debug, Default, PartialEq)]
pub(super) struct Routes {
    /// The customers of each account manager, by the address in lower case.
    managers: BTreeMap<String, Manager>,
}

#[derive(Debug, PartialEq)]
struct Manager {
    /// The address as it is first written in the list.
    address: String,
    customers: Vec<Uuid>,
}

impl Routes {
    /// Reads a list with two fields a line: the id of a customer, and an e-mail address.
    ///
    /// # Errors
    /// With every problem of the list and its line, if there is one.
    pub(super) fn read(file: &Path) -> anyhow::Result<Self> {
        let text = std::fs::read(file).with_context(|| format!("cannot read {}", file.display()))?;
        let text =
            String::from_utf8(text).with_context(|| format!("{} is not UTF-8 text", file.display()))?;
        Self::parse(&text)
            .map_err(|problems| anyhow::anyhow!("{}:\n  {}", file.display(), problems.join("\n  ")))
    }

    fn parse(text: &str) -> Result<Self, Vec<String>> {
        let (mut routes, mut lines, mut problems) = (Self::default(), BTreeMap::new(), Vec::new());
        // No field contains a line break, so a line is a record, and its number is certain.
        let text = text.trim_start_matches('\u{feff}').replace("\r\n", "\n").replace('\r', "\n");
        let numbered = (1..).zip(text.lines().map(str::trim));
        let mut entries = numbered.filter(|(_, line)| !line.is_empty() && !line.starts_with('#')).peekable();
        entries.next_if(|(_, first)| is_header(first));
        for (line, text) in entries {
            match record(text).and_then(|record| entry(&record)) {
                Ok((id, address)) => match lines.insert(id, line) {
                    Some(first) => {
                        problems.push(format!("line {line}: the customer is on line {first} already"));
                    }
                    None => routes.add(id, &address),
                },
                Err(problem) => problems.push(format!("line {line}: {problem}")),
            }
        }
        if problems.is_empty() && routes.managers.is_empty() {
            problems.push("the list has no customer".to_owned());
        }
        if problems.is_empty() { Ok(routes) } else { Err(problems) }
    }

    fn add(&mut self, id: Uuid, address: &str) {
        let manager = self
            .managers
            .entry(address.to_ascii_lowercase())
            .or_insert_with(|| Manager { address: address.to_owned(), customers: Vec::new() });
        manager.customers.push(id);
    }

    /// Writes the routes, and a receiver for each account manager, into a configuration of Alertmanager, in place of those
    /// that were written into it before.
    ///
    /// # Errors
    /// If the configuration lacks the line below which routes are written, or the receiver of owners with an address.
    pub(super) fn write_into(&self, config: &str) -> anyhow::Result<String> {
        let config = without(&without(config, ROUTES), RECEIVERS);
        anyhow::ensure!(config.contains(PLACE), "no line reads {:?}", PLACE.trim_end());
        let (_, rest) =
            config.split_once(OWNERS).with_context(|| format!("no line reads {:?}", OWNERS.trim_end()))?;
        // The receiver ends where a line is indented less.
        let owners: Vec<&str> = rest.lines().take_while(|line| line.starts_with("    ")).collect();
        anyhow::ensure!(
            owners.iter().any(|line| line.starts_with(TO)),
            "the receiver licence-owners has no line that begins with {TO:?}"
        );
        let mut routes = format!(
            "{}      # From a list of account managers. Customers who are not in it remain with the receiver above.\n      routes:\n",
            ROUTES.0
        );
        let mut receivers = RECEIVERS.0.to_owned();
        for Manager { address, customers } in self.managers.values() {
            let name = quoted(address);
            let ids = customers.iter().map(Uuid::to_string).collect::<Vec<_>>().join("|");
            routes += &format!(
                "        - receiver: {name}\n          matchers:\n            - 'customer =~ \"{ids}\"'\n"
            );
            receivers += &format!("  - name: {name}\n");
            for line in &owners {
                let to = if line.starts_with(TO) { format!("{TO}{name}") } else { (*line).to_owned() };
                receivers += &format!("{to}\n");
            }
        }
        let end = if config.ends_with('\n') { "" } else { "\n" };
        let config = config.replacen(PLACE, &format!("{PLACE}{routes}{}", ROUTES.1), 1);
        Ok(format!("{config}{end}{receivers}{}", RECEIVERS.1))
    }
}

/// Returns a text without the lines from one line to another one.
fn without(text: &str, (begin, end): (&str, &str)) -> String {
    let rest = text.split_once(begin).and_then(|(before, rest)| Some((before, rest.split_once(end)?.1)));
    rest.map_or_else(|| text.to_owned(), |(before, after)| [before, after].concat())
}

/// Returns the fields of a line, which commas separate, or semicolons where it has no comma.
fn record(line: &str) -> Result<StringRecord, String> {
    if !line.matches('"').count().is_multiple_of(2) {
        return Err("a quotation mark is not closed".to_owned());
    }
    let delimiter = if line.contains(';') && !line.contains(',') { b';' } else { b',' };
    let mut reader = ReaderBuilder::new();
    let reader = reader.delimiter(delimiter).has_headers(false).trim(Trim::All);
    let record = reader.from_reader(line.as_bytes()).records().next();
    record.and_then(Result::ok).ok_or_else(|| "it cannot be read".to_owned())
}

/// Whether the first line of a list names the columns: it has neither an id nor an address.
fn is_header(line: &str) -> bool {
    !line.contains('@')
        && record(line).is_ok_and(|record| record.iter().all(|field| customer(field).is_none()))
}

/// Returns the customer and the address of a line, or what is wrong with it.
fn entry(record: &StringRecord) -> Result<(Uuid, String), String> {
    let (Some(id), Some(address), 2) = (record.get(0), record.get(1), record.len()) else {
        let plural = if record.len() == 1 { "" } else { "s" };
        return Err(format!(
            "{} field{plural} in place of two, the customer's id and an e-mail address, with a comma between them",
            record.len()
        ));
    };
    let id = customer(id).ok_or(
        "the first field is not the id of a customer, a GUID such as 0112a436-9d8f-4d8c-9e0f-6b1f0c5a7d01",
    )?;
    if !is_address(address) {
        return Err("the second field is not an e-mail address such as anna@partner.example".to_owned());
    }
    Ok((id, address.to_owned()))
}

fn customer(id: &str) -> Option<Uuid> {
    Uuid::try_parse(id).ok().filter(|_| id.len() == 36)
}

/// Whether a text is an address without a name, quotes or anything that Alertmanager would take for a template.
fn is_address(text: &str) -> bool {
    let Some((local, domain)) = text.split_once('@') else { return false };
    let is_local = |part: &str| {
        !part.is_empty() && part.chars().all(|c| c.is_ascii_alphanumeric() || "!#$%&'*+-/=?^_|~".contains(c))
    };
    let is_label = |label: &str| {
        !label.is_empty()
            && label.chars().all(|c| c.is_ascii_alphanumeric() || c == '-')
            && !label.starts_with('-')
            && !label.ends_with('-')
    };
    local.split('.').all(is_local) && domain.split('.').all(is_label)
}

/// Returns a text as a string of YAML.
fn quoted(text: &str) -> String {
    format!("'{}'", text.replace('\'', "''"))
}

#[cfg(test)]
mod tests {
    use super::*;

    const BANK: &str = "0112a436-9d8f-4d8c-9e0f-6b1f0c5a7d01";
    const SHOP: &str = "7b1e5c5e-2f57-4f0a-8a35-1d2c3b4a5f02";
    const FARM: &str = "9c2f6d6f-3068-4a1b-9b46-2e3d4c5b6a03";

    /// Returns the addresses with their customers.
    fn managers(text: &str) -> Vec<(String, Vec<String>)> {
        let of = |manager: Manager| {
            (manager.address, manager.customers.iter().map(Uuid::to_string).collect::<Vec<_>>())
        };
        Routes::parse(text).unwrap().managers.into_values().map(of).collect()
    }

    #[test]
    fn customers_of_one_address_are_one_entry_whatever_the_case_and_the_frame_of_the_list() {
        let expected = [
            ("Bob.O'Neill+ms@partner.example".to_owned(), vec![FARM.to_owned()]),
            ("anna@partner.example".to_owned(), vec![BANK.to_owned(), SHOP.to_owned()]),
        ];
        let sorted = |text: &str| {
            let mut found = managers(text);
            found.sort();
            found
        };
        let (bank, o_neill) = (BANK.to_uppercase(), "Bob.O'Neill+ms@partner.example");
        assert_eq!(
            sorted(&format!("{bank},anna@partner.example\n{FARM},{o_neill}\n{SHOP},Anna@Partner.example")),
            expected
        );
        assert_eq!(
            sorted(&format!(
                "Kunde;E-Mail\r{BANK};anna@partner.example\r{FARM};{o_neill}\r\"{SHOP}\";anna@partner.example\r"
            )),
            expected
        );
        assert_eq!(
            sorted(&format!(
                "\u{feff}Customer ID, E-mail\r\n\r\n# the bank\r\n\"{BANK}\" , anna@partner.example\r\n{FARM},{o_neill}\r\n{SHOP},anna@partner.example\r\n"
            )),
            expected
        );
    }

    #[test]
    fn every_problem_is_reported_with_its_line_and_without_its_text() {
        let text = format!(
            "customer_id,e-mail\n{BANK},anna@partner.example\n\n# two customers\nContoso,anna@partner.example\n\
             {SHOP},\"bob@partner.example\n{FARM},Bob <bob@partner.example>\n{BANK},bob@partner.example\n\
             {SHOP},bob@partner.example,Berlin\nid,e-mail\n"
        );
        let id = "the first field is not the id of a customer, a GUID such as 0112a436-9d8f-4d8c-9e0f-6b1f0c5a7d01";
        let fields = "in place of two, the customer's id and an e-mail address, with a comma between them";
        assert_eq!(
            Routes::parse(&text).unwrap_err(),
            [
                format!("line 5: {id}"),
                "line 6: a quotation mark is not closed".to_owned(),
                "line 7: the second field is not an e-mail address such as anna@partner.example".to_owned(),
                "line 8: the customer is on line 2 already".to_owned(),
                format!("line 9: 3 fields {fields}"),
                format!("line 10: {id}"),
            ]
        );
        assert_eq!(Routes::parse(&format!("{BANK}\n")).unwrap_err(), [format!("line 1: 1 field {fields}")]);
        assert_eq!(Routes::parse("id,e-mail\n").unwrap_err(), ["the list has no customer"]);
    }

    #[test]
    fn only_what_the_list_says_is_replaced_in_a_configuration() {
        let config = format!(
            "route:\n{PLACE}mine: 1\nreceivers:\n{OWNERS}    email_configs:\n{TO}owners@partner.example\n        html: x\n  # mine\n  - name: mine\n"
        );
        let of = |list: &str| Routes::parse(list).unwrap();
        let first = of(&format!("{BANK},anna@partner.example\n{SHOP},bob@partner.example\n"))
            .write_into(&config)
            .unwrap();
        assert!(first.contains(&format!("  - name: 'bob@partner.example'\n    email_configs:\n{TO}'bob@partner.example'\n        html: x\n")), "{first}");
        assert_eq!(without(&without(&first, ROUTES), RECEIVERS), config);
        let then = of(&format!("{BANK},carol@partner.example\n"))
            .write_into(&first.replace("mine: 1", "mine: 2"))
            .unwrap();
        assert!(then.contains("mine: 2") && then.contains("'carol@partner.example'"), "{then}");
        assert!(!then.contains("anna@") && !then.contains("bob@"), "{then}");
        for missing in [PLACE, OWNERS, TO] {
            let error =
                of(&format!("{BANK},anna@partner.example\n")).write_into(&config.replace(missing, "    x: "));
            assert!(error.unwrap_err().to_string().contains(missing.trim_end()), "{missing}");
        }
    }

    #[test]
    fn an_address_has_no_character_that_means_something_to_yaml_or_alertmanager() {
        for fine in ["a@b", "first.last@partner.example", "o'neill@a-b.example", "x+y_z@1.example"] {
            assert!(is_address(fine), "{fine}");
        }
        for wrong in [
            "",
            "@",
            "a@",
            "@b",
            "a",
            "a@b@c",
            "a b@c",
            "a@b c",
            "a@b\n",
            "\"a\"@b",
            "a@b,c@d",
            "a@b;c@d",
            "<a@b>",
            "{{.}}@b",
            "a@{{ . }}",
            "a@-b",
            "a@b-",
            "a@b..c",
            ".a@b",
            "a.@b",
            "a..b@c",
            "a\\b@c",
            "ä@b",
            "a@bücher.example",
            "a@[127.0.0.1]",
            "a`b@c",
        ] {
            assert!(!is_address(wrong), "{wrong:?}");
        }
    }
}
