//! The recipe of docs/guide/alerts.md that proves that alerts arrive.

use std::fs;
use std::process::Command;

use super::routing::{example, with_weekdays};
use crate::support::real::{Alertmanager, mail_server, root, tool, webhook};

/// The commands of the recipe.
fn recipe() -> String {
    let guide = fs::read_to_string(root().join("docs/guide/alerts.md")).unwrap();
    let (_, rest) = guide.split_once("<!-- recipe -->\n```sh\n").unwrap();
    rest.split_once("```").unwrap().0.to_owned()
}

pub(crate) fn test_alert_arrives(suite: &'static str) {
    let shipped = fs::read_to_string(root().join("examples/alertmanager.yml")).unwrap();
    let (_, waits) = shipped.split_once("receiver: platform").unwrap();
    assert!(waits.contains("group_wait: 30s"), "the message arrives within a minute");

    let ((mail, mails), (hook, calls)) = (mail_server(), webhook());
    let config = with_weekdays(&example(&mail, &hook), "\"sunday:saturday\"");
    let alertmanager = Alertmanager::start(suite, &config);
    let run = |alert: &str| {
        let (recipe, url, name) = (recipe(), "http://127.0.0.1:9093", "alert=PartnerLicenseTest");
        for part in [url, name, "+2 minutes"] {
            assert!(recipe.contains(part), "no {part} in:\n{recipe}");
        }
        let commands = recipe
            .replace(url, &alertmanager.url)
            .replace(name, &format!("alert={alert}"))
            .replace("+2 minutes", "+10 seconds");
        let tools = tool(suite, "amtool").parent().unwrap().display().to_string();
        let path = format!("{tools}:{}", std::env::var("PATH").unwrap());
        let output = Command::new("sh").args(["-euc", &commands]).env("PATH", path).output().unwrap();
        assert!(output.status.success(), "{commands}{}", String::from_utf8_lossy(&output.stderr));
    };
    run("PartnerLicenseTest");
    let firing = calls.wait_for(&["[1 firing] Test of the alert chain (account test)", "Nothing is wrong."]);
    assert!(firing.starts_with("/slack\n") && !firing.contains("hour"), "{firing}");
    calls.wait_for(&["[resolved] Test of the alert chain (account test)"]);
    assert_eq!(mails.messages(), [""; 0]);

    run("PartnerLicenseUsageLow");
    let firing =
        mails.wait_for(&["Subject: [1 firing] Test of the alert chain (account test)", "Nothing is wrong."]);
    assert!(firing.contains("To: licence-owners@localhost") && !firing.contains("hour"), "{firing}");
    mails.wait_for(&["Subject: [resolved] Test of the alert chain"]);
}
