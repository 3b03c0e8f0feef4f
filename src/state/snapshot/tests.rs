use std::fs;
use std::os::unix::fs::PermissionsExt;

use proptest::collection::vec;
use proptest::prelude::*;
use serde_json::Value;

use super::invariants::{OWNER, parts, round_trip};
use super::*;
use crate::config::Config;
use crate::domain::usage::UsageReport;

const NOW: Timestamp = Timestamp::constant(1_795_410_800, 123_456_789);

fn account(tenant: &str) -> Account {
    let config = format!(
        "accounts: [{{tenant_id: {tenant}, client_secret: s, refresh_token: r, \
         client_id: 00000000-0000-0000-0000-00000000c11e}}]"
    );
    Config::parse(&config, &|_| None).unwrap().accounts.remove(0)
}

fn good(rows: impl IntoIterator<Item = LicenseUsage>) -> LastGood {
    LastGood {
        report: Arc::new(UsageReport::collect(rows.into_iter().map(Ok)).into()),
        at: NOW,
        failed_since: false,
    }
}

fn row(workload: &str, percent: f64) -> LicenseUsage {
    LicenseUsage {
        service: "o365".into(),
        workload: workload.into(),
        channel: "reseller".into(),
        percent: Percent::new(percent).unwrap(),
        licenses: None,
        processed_at: "2026-11-17T01:02:03.000000004Z".parse().unwrap(),
    }
}

/// A directory with a usable file of contoso.
fn saved() -> (tempfile::TempDir, SnapshotStore) {
    let directory = tempfile::tempdir().unwrap();
    let store = SnapshotStore::new(directory.path(), &account("contoso.example"), Collection::Usage);
    store.save(&good([row("Exchange", 38.25)])).unwrap();
    (directory, store)
}

#[test]
fn rows_that_could_not_be_read_again_are_not_written_and_the_saved_ones_stay() {
    let (_directory, store) = saved();
    let large = good((0..70_000).map(|n| row(&format!("{n:1000}"), 1.0)));
    let error = store.save(&large).unwrap_err();
    assert_eq!(error.to_string(), "they need more than 64 MiB, the most that is read again");
    assert_eq!(parts(&store.restore(NOW, None).unwrap().unwrap()), parts(&good([row("Exchange", 38.25)])));
    // Short labels that JSON makes six times as long.
    let escaped = good((0..11_500).map(|n| row(&format!("{n}{}", "\u{1}".repeat(1000)), 1.0)));
    assert_eq!(store.save(&escaped).unwrap_err().kind(), io::ErrorKind::FileTooLarge);
}

#[test]
fn saved_rows_are_restored_with_their_times_to_the_nanosecond() {
    let directory = tempfile::tempdir().unwrap();
    let store = SnapshotStore::new(directory.path(), &account("contoso.example"), Collection::Usage);
    assert!(store.restore(NOW, None).unwrap().is_none(), "nothing was saved");
    let hostile = ["\"} 1\n# HELP x", "\\", "\u{0}\u{7f}\u{2028}", "Ünï ☃ 𝄞", " "];
    for saved in [good([]), good(hostile.map(|text| row(text, 0.1 + 0.2))), good([row("Teams", 1e308)])] {
        store.save(&saved).unwrap();
        let restored = store.restore(NOW, None).unwrap().unwrap();
        assert_eq!(parts(&restored), parts(&saved));
    }
}

#[test]
fn the_rows_of_every_collection_are_restored_with_their_numbers_and_their_source() {
    let directory = tempfile::tempdir().unwrap();
    let usage =
        LicenseUsage { licenses: Some(Qualified { active: 3, qualified: 1 << 53 }), ..row("Teams", 0.1) };
    let deployment = |service: &str, sold, deployed| LicenseDeployment {
        service: service.into(),
        channel: "reseller".into(),
        percent: Percent::new(26.16).unwrap(),
        sold,
        deployed,
        processed_at: NOW,
    };
    let deployments = [deployment("crm", Some(343), None), deployment("o365", None, Some(0))];
    let customer = |customer: &str| CustomerUsage {
        processed_at: NOW,
        ..CustomerUsage::of(customer, "Teams", 1 << 53, 3)
    };
    let of_customer = |customer: &str| CustomerDeployment {
        customer: customer.into(),
        service: "crm".into(),
        channel: "direct".into(),
        sold: 7,
        deployed: 8,
        processed_at: NOW,
    };
    let of = |source| -> [Collected; 5] {
        let deployments = deployments.clone().map(Ok);
        let customers = Rows::collect_from(source, ["a", "b"].map(customer).map(Ok));
        let deployed = Rows::collect_from(source, ["0", "b", "c"].map(of_customer).map(Ok));
        let products =
            ["Office 365 E3", "Visio"].map(|product| CustomerProduct::of("b", product, 3, 1 << 53));
        let products = Rows::collect_from(source, products.map(Ok));
        let names = [("a", "Contoso\n\"Ltd\""), ("c", "Ünï ☃")].map(|(id, name)| (id.into(), name.into()));
        [
            Rows::collect_from(source, [Ok(usage.clone())]).into(),
            Rows::collect_from(source, deployments).into(),
            Customers::new(customers.clone(), deployed, names.into()).into(),
            Customers::new(customers.clone(), Rows::default(), Names::new()).into(),
            Customers::new(customers, Rows::default(), Names::new()).with_products(Some(products)).into(),
        ]
    };
    for collected in [Source::Licenses, Source::Commercial].into_iter().flat_map(of) {
        let store = SnapshotStore::new(directory.path(), &account("contoso.example"), collected.collection());
        let saved = LastGood { report: Arc::new(collected), at: NOW, failed_since: true };
        store.save(&saved).unwrap();
        assert_eq!(parts(&store.restore(NOW, None).unwrap().unwrap()), parts(&saved));
        round_trip(&saved);
        let content = encode(&saved, OWNER);
        for other in Collection::ALL {
            let restored = decode(&content, OWNER, other).is_some();
            assert_eq!(restored, other == saved.report.collection(), "{other:?}");
        }
    }
    let record: Value = serde_json::from_slice(&encode(&good([row("Teams", 1.0)]), OWNER)).unwrap();
    assert_eq!(record.get("source"), None, "earlier builds can read it");
}

#[test]
fn only_the_owner_can_read_the_file_and_nothing_else_is_left_behind() {
    let (directory, store) = saved();
    let path = directory.path().join("usage-contoso.example-00000000-0000-0000-0000-00000000c11e.json");
    assert_eq!(store.file.path(), path);
    assert_eq!(fs::metadata(&path).unwrap().permissions().mode() & 0o777, 0o600);
    assert_eq!(fs::read_dir(directory.path()).unwrap().count(), 1);
    let record: Value = serde_json::from_slice(&fs::read(&path).unwrap()).unwrap();
    assert_eq!((&record["version"], &record["polled_at"]), (&1.into(), &NOW.to_string().into()));
}

#[test]
fn an_unusable_file_is_set_aside() {
    let (directory, store) = saved();
    let path = store.file.path().to_owned();
    let text = fs::read_to_string(&path).unwrap();
    let changed = |key: &str, value: Value| {
        let mut record: Value = serde_json::from_str(&text).unwrap();
        record[key] = value;
        record.to_string().into_bytes()
    };
    // Complete, but of another owner.
    let foreign = encode(&good([row("Exchange", 1.0)]), "https://login.example fabrikam.example c11e");
    for (what, content) in [
        ("empty", Vec::new()),
        ("not even text", vec![0xff, 0xfe, 0x00]),
        ("truncated", text.as_bytes()[..text.len() / 2].to_vec()),
        ("truncated by a byte", text.as_bytes()[..text.len() - 1].to_vec()),
        ("with another value", text.replace("38.25", "83.25").into_bytes()),
        ("with another time", text.replace("2026-11-17", "2026-11-18").into_bytes()),
        ("without its rows", changed("rows", Value::Array(Vec::new()))),
        ("with an unknown field", changed("more", 1.into())),
        ("of a later version", changed("version", 2.into())),
        ("of another owner", foreign),
        ("an endless nesting", "[".repeat(100_000).into_bytes()),
    ] {
        fs::write(&path, &content).unwrap();
        let error = store.restore(NOW, None).unwrap_err();
        let SnapshotError::SetAside(aside) = error else { panic!("{what}: {error}") };
        assert_eq!(aside, path.with_extension("json.set-aside"), "{what}");
        assert_eq!(fs::read(&aside).unwrap(), content, "{what}");
        fs::remove_file(aside).unwrap();
        assert!(store.restore(NOW, None).unwrap().is_none(), "{what}: the file is set aside");
    }
    drop(directory);
}

#[test]
fn rows_that_were_set_aside_for_a_slip_in_the_configuration_are_taken_back_and_damaged_ones_are_not() {
    let (_directory, store) = saved();
    let path = store.file.path().to_owned();
    let (aside, second) = (path.with_extension("json.set-aside"), path.with_extension("json.set-aside-2"));
    let content = fs::read(&path).unwrap();
    let mut slip = account("contoso.example");
    slip.cloud.login_base_url = "https://login.partner.microsoftonline.cn".to_owned();
    let wrong = SnapshotStore::new(path.parent().unwrap(), &slip, Collection::Usage);
    assert!(matches!(wrong.restore(NOW, None), Err(SnapshotError::SetAside(_))));
    assert!(wrong.restore(NOW, None).unwrap().is_none() && aside.exists());
    let restored = store.restore(NOW, None).unwrap().unwrap();
    assert_eq!(parts(&restored), parts(&good([row("Exchange", 38.25)])));
    assert_eq!(fs::read(&path).unwrap(), content);
    assert!(!aside.exists());
    // Also in the place of rows of the wrong cloud.
    assert!(wrong.restore(NOW, None).is_err());
    wrong.save(&good([row("Teams", 1.0)])).unwrap();
    let restored = store.restore(NOW, None).unwrap().unwrap();
    assert_eq!(parts(&restored), parts(&good([row("Exchange", 38.25)])));
    assert!(!aside.exists() && second.exists());
    // Damaged rows stay where they are.
    fs::remove_file(&path).unwrap();
    fs::write(&aside, String::from_utf8(content).unwrap().replace("38.25", "83.25")).unwrap();
    assert!(store.restore(NOW, None).unwrap().is_none() && aside.exists());
}

#[test]
fn stale_rows_are_not_restored_and_zero_means_never_stale() {
    let (_directory, store) = saved();
    let (hour, is_there) =
        (Duration::from_hours(1), |now, stale_after| store.restore(now, stale_after).unwrap().is_some());
    let just_before = NOW + hour - Duration::from_nanos(1);
    assert_eq!((is_there(just_before, Some(hour)), is_there(NOW + hour, Some(hour))), (true, false));
    assert!(is_there(NOW + 10_000 * hour, None));
}

#[test]
fn a_poll_in_the_future_is_not_restored_and_its_file_stays() {
    let (_directory, store) = saved();
    let error = store.restore(NOW - Duration::from_secs(1), None).unwrap_err();
    assert!(matches!(error, SnapshotError::Future { at, .. } if at == NOW), "{error}");
    assert!(store.restore(NOW, None).unwrap().is_some());
}

#[test]
fn a_file_that_cannot_be_read_or_written_is_an_error_and_leaves_nothing_behind() {
    let (directory, store) = saved();
    fs::remove_file(store.file.path()).unwrap();
    fs::create_dir_all(store.file.path().join("x")).unwrap();
    store.save(&good([])).unwrap_err();
    assert!(matches!(store.restore(NOW, None), Err(SnapshotError::File { .. })));
    assert_eq!(fs::read_dir(directory.path()).unwrap().count(), 1, "no temporary file is left behind");
}

#[test]
fn a_directory_that_was_removed_is_created_again() {
    let directory = tempfile::tempdir().unwrap();
    let store =
        SnapshotStore::new(&directory.path().join("gone"), &account("contoso.example"), Collection::Usage);
    assert!(store.restore(NOW, None).unwrap().is_none());
    store.save(&good([])).unwrap();
    assert!(store.restore(NOW, None).unwrap().is_some());
}

fn any_row() -> impl Strategy<Value = LicenseUsage> {
    let label = || any::<String>().prop_map(Arc::from);
    let time = (-62_135_596_800i64..253_402_207_200, 0i32..1_000_000_000);
    (label(), label(), label(), 0.0..f64::MAX, time).prop_map(|(service, workload, channel, percent, at)| {
        LicenseUsage {
            service,
            workload,
            channel,
            percent: Percent::new(percent).unwrap(),
            licenses: None,
            processed_at: Timestamp::new(at.0, at.1).unwrap(),
        }
    })
}

#[test]
fn every_seed_is_used_as_a_whole_or_not_at_all() {
    crate::seeds::replay("snapshot", invariants::file);
}

proptest! {
    #[test]
    fn any_rows_are_restored_unchanged(rows in vec(any_row(), 0..8)) {
        invariants::round_trip(&good(rows));
    }

    #[test]
    fn any_bytes_are_refused_or_a_file(bytes in vec(any::<u8>(), 0..500)) {
        invariants::file(&bytes);
    }

    #[test]
    fn a_changed_byte_is_detected_or_changes_nothing(at in any::<prop::sample::Index>(), byte in any::<u8>()) {
        let saved = good([row("Exchange", 38.25), row("Teams", 104.5)]);
        let content = encode(&saved, OWNER);
        invariants::damaged(&saved, &content, at.index(content.len()), byte);
    }
}

#[test]
fn a_row_whose_label_is_longer_than_the_limit_is_not_restored() {
    let directory = tempfile::tempdir().unwrap();
    let account = Account { label_value_length_limit: 20, ..account("contoso.example") };
    let store = SnapshotStore::new(directory.path(), &account, Collection::Usage);
    store.save(&good([row("Exchange", 1.0), row(&"x".repeat(21), 2.0), row(&"y".repeat(20), 3.0)])).unwrap();
    let restored = store.restore(NOW, None).unwrap().unwrap();
    let workloads: Vec<_> = restored.report.usage().iter().map(|row| row.workload.len()).collect();
    assert_eq!(workloads, [8, 20]);
}

#[test]
fn names_that_are_not_wanted_leave_the_file_and_what_was_set_aside() {
    let directory = tempfile::tempdir().unwrap();
    let store = SnapshotStore::new(directory.path(), &account("contoso.example"), Collection::Customers);
    let file = store.file.path().to_owned();
    let aside = ["set-aside", "set-aside-2"].map(|end| PathBuf::from(format!("{}.{end}", file.display())));
    let other = directory.path().join("usage-contoso.example.json.set-aside");
    let exist = || [&file, &aside[0], &aside[1], &other].map(|path| path.exists());
    for path in [&file, &aside[0], &aside[1], &other] {
        fs::write(path, "Contoso").unwrap();
    }
    store.remove_names(true);
    assert_eq!(exist(), [true, false, false, true], "the rows are saved again without names");
    store.remove_names(false);
    assert_eq!(exist(), [false, false, false, true]);
    store.remove_names(false);
}
