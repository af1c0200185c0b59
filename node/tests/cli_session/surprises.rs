//! What users were surprised by once.

use super::Session;

pub(super) fn another_file_of_a_producer_is_no_repetition(session: &Session) {
    let of_march = session.file(
        "march.csv",
        "shop,event_time,amount,sold_out\ns0,2024-03-01T12:00:00Z,50,false\n",
    );
    let next = session.json(&[
        "feature",
        "push",
        "sales",
        "--file",
        &of_march,
        "--producer",
        "till",
    ]);
    assert_eq!(next["accepted"], 1);
    let row = session.json(&[
        "feature",
        "get",
        "demand",
        "--row",
        "shop=s0",
        "amount=3",
        "--as-of",
        "2024-03-01T13:00:00Z",
        "--consistency",
        "linearizable",
    ]);
    assert_eq!(
        row[0]["value"], 50.0,
        "another file of the same producer is no repetition: {row}"
    );
}

pub(super) fn a_training_set_that_is_defined_otherwise_is_to_be_built(session: &Session) {
    let planned = |until: &str| {
        let defined = format!(
            "kind: Dataset\nname: demand\nservice: demand\nlabel: sold_out\nspine: {{view: sales, from: \"2024-01-01T00:00:00Z\", \
             until: \"{until}T00:00:00Z\"}}\n"
        );
        let file = session.file("dataset.yaml", &defined);
        session.json(&["apply", "--dry-run", "-f", &file])[0]["change"].clone()
    };
    assert_eq!(
        (planned("2024-02-01"), planned("2024-01-20")),
        ("unchanged".into(), "update".into()),
        "a training set with another specification is built again"
    );
}

pub(super) fn ids_that_look_like_numbers_are_texts(session: &Session) {
    let asked = session.file("numbered.csv", "id,shop,amount\n007,s3,12\n");
    let predict = ["predict", "demand", "--file", asked.as_str(), "--id-column", "id"];
    session.json(&predict);
    session.json(&["drift", "flush", "demand"]);
    let numbers = session.file("numbers.csv", "id,label\n007,1\n7,0\n");
    let joined = session.json(&["label", "push", "demand", "--file", &numbers]);
    assert_eq!(
        (&joined["joined"], &joined["without_prediction"]),
        (&1.into(), &1.into()),
        "an id is a text, however much it looks like a number"
    );
}

pub(super) fn a_deployment_is_ready_when_it_serves_what_was_asked_for(session: &Session) {
    let stale = [
        "deploy", "demand", "--model", "demand", "--alias", "nobody", "--wait", "1s",
    ];
    let output = session.run(&stale);
    assert!(
        !output.status.success(),
        "replicas that serve what they served before are not what was asked for"
    );
}
