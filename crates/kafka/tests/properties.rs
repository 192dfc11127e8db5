//! Whether the fixture that the list of properties is held against is what Java prints.

use kurier_harness::{skip_without_java, workspace_root};

#[test]
fn the_fixture_is_what_java_prints() {
    let Some(java) = skip_without_java("the_fixture_is_what_java_prints") else { return };
    let program = workspace_root().join("tests/java/clients/ClientProperties.java");
    let printed = java.run(&program.display().to_string(), &[], b"").unwrap();
    expect_test::expect_file!["fixtures/client-properties.tsv"].assert_eq(&printed);
}
