//! Roles with insufficient privileges: connecting fails and names the missing privilege.

use eddyline::{Config, Error, ReadOnly, ReadWrite, Schema, Store};

use crate::support::{Log, as_user, next};

/// Revokes each privilege that a store needs, and restores it by the remedy of the error.
#[tokio::test]
async fn a_missing_privilege_is_named_and_the_remedy_restores_it() {
    let (log, role) = (Log::missing().await, format!("librarian_{}", next()));
    let schema = format!("branch_{}", next());
    let config = log.config().schema(&schema).log("loans");
    let migrate = async || {
        Schema::new(&config).writer_role(&role).migrate().await.unwrap();
    };
    migrate().await;
    let sql = log.sql().await;
    sql.batch_execute(&format!("ALTER ROLE {role} LOGIN")).await.unwrap();
    let url = as_user(&log.primary_url(), &role);
    let as_role = Config::new(&url).unwrap().schema(&schema).log("loans");
    let connect = async || {
        let writer = Store::<ReadWrite>::connect(as_role.clone()).await.map(drop);
        (writer, Store::<ReadOnly>::connect(as_role.clone()).await.map(drop))
    };
    let append = "EXECUTE on routine {schema}.loans_append";
    for (revoked, privilege, to_read) in [
        ("USAGE ON SCHEMA {schema}", "USAGE on schema", true),
        ("SELECT ON {schema}.loans", "SELECT on table {schema}.loans", true),
        ("SELECT ON {schema}.eddyline_schema", "SELECT on table {schema}.eddyline_schema", true),
        ("INSERT (payload) ON {schema}.loans", "INSERT on table {schema}.loans", false),
        (
            "SELECT ON SEQUENCE {schema}.loans_sequence",
            "SELECT on sequence {schema}.loans_sequence",
            false,
        ),
        ("EXECUTE ON ROUTINE {schema}.loans_append", append, false),
    ] {
        let [revoke, privilege] =
            [revoked, privilege].map(|text| text.replace("{schema}", &schema));
        sql.batch_execute(&format!("REVOKE {revoke} FROM {role}, PUBLIC")).await.unwrap();

        let (writer, reader) = connect().await;

        let mut refused = vec![writer];
        assert_eq!(reader.is_err(), to_read, "{revoked}: {reader:?}");
        refused.extend(to_read.then_some(reader));
        for refused in refused {
            let Err(Error::UnsuitableRole { reason, .. }) = refused else {
                panic!("{revoked}: {refused:?}")
            };
            assert!(reason.contains(&privilege) && reason.contains("writer_role"), "{reason}");
        }
        migrate().await;
        let (writer, reader) = connect().await;
        assert!(writer.is_ok() && reader.is_ok(), "{revoked}: {writer:?} {reader:?}");
    }
}

/// A hidden event could not break a condition, and a reader would miss it.
#[tokio::test]
async fn a_role_from_which_row_level_security_hides_events_is_refused() {
    let (log, role) = (Log::missing().await, format!("librarian_{}", next()));
    Schema::new(&log.config()).writer_role(&role).migrate().await.unwrap();
    let (name, owner) = (&log.name, log.sql().await);
    owner.batch_execute(&format!("ALTER ROLE {role} LOGIN")).await.unwrap();
    let config = Config::new(&as_user(&log.primary_url(), &role)).unwrap().log(name);
    owner
        .batch_execute(&format!(
            "ALTER TABLE {name} ENABLE ROW LEVEL SECURITY;
             CREATE POLICY some_readers ON {name} USING (payload ->> 'ReaderID' = 'r-1') WITH CHECK (true)"
        ))
        .await
        .unwrap();
    let connect = async || {
        let writer = Store::<ReadWrite>::connect(config.clone()).await.map(drop);
        [writer, Store::<ReadOnly>::connect(config.clone()).await.map(drop)]
    };

    let remedies = [
        format!("ALTER ROLE \"{role}\" BYPASSRLS"),
        format!("ALTER TABLE \"public\".\"{name}\" DISABLE ROW LEVEL SECURITY"),
    ];
    for refused in connect().await {
        let Err(error) = refused else { panic!("connected") };
        assert!(matches!(error, Error::UnsuitableRole { .. }), "{error:?}");
        for part in ["row-level security", &remedies[0], &remedies[1]] {
            assert!(error.to_string().contains(part), "{error}");
        }
    }
    log.writer().await;
    owner.batch_execute(&format!("ALTER TABLE {name} OWNER TO {role}")).await.unwrap();
    assert!(connect().await.iter().all(Result::is_ok));
    owner.batch_execute(&format!("ALTER TABLE {name} FORCE ROW LEVEL SECURITY")).await.unwrap();
    assert!(connect().await.iter().all(Result::is_err));
    for remedy in remedies {
        owner.batch_execute(&remedy).await.unwrap();
        assert!(connect().await.iter().all(Result::is_ok), "{remedy}");
        owner.batch_execute(&format!("ALTER ROLE {role} NOBYPASSRLS")).await.unwrap();
    }
}
