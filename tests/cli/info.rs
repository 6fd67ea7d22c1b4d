//! `spelunk info`.

use super::{fixture, spelunk};

#[test]
fn image_without_a_table_is_described() {
    if !fixture::can_be_made() {
        return;
    }
    let image = fixture::plain();

    let ended = spelunk(["info", &image.path().to_string_lossy()]);

    let text = ended.success();
    for line in [
        "table         none",
        "layer 0: raw",
        "volume p0",
        "  filesystem  ext4",
        "  label       fixture",
        "  uuid        01234567-89ab-cdef-0123-456789abcdef",
        "  capacity    4.0 MiB (4194304 bytes)",
    ] {
        assert!(text.lines().any(|found| found == line), "no '{line}' in:\n{text}");
    }
}

#[test]
fn partitions_are_described_as_json() {
    if !fixture::can_be_made() {
        return;
    }
    let image = fixture::partitioned();

    let ended = spelunk(["info", "--json", &image.path().to_string_lossy()]);

    let object: serde_json::Value = serde_json::from_str(ended.success()).expect("an object");
    assert_eq!((&object["schema"], &object["table"]), (&1.into(), &"gpt".into()));
    assert_eq!(object["table_id"], "11111111-2222-3333-4444-555555555555");
    let volumes = object["volumes"].as_array().expect("volumes");
    assert_eq!(volumes.len(), 4);
    assert_eq!((&volumes[0]["name"], &volumes[0]["start_bytes"]), (&"root".into(), &(1 << 20).into()));
    assert_eq!(volumes[2]["filesystem"]["type"], "ext4");
    assert_eq!(volumes[3]["error_kind"], "not supported");
}
