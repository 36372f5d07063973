//! Everybody is answered in the language they chose, and it stays chosen.

use crate::{
    direct::Direct,
    stage::{self, run},
};

#[test]
fn a_chosen_language_is_kept_for_its_person_across_a_restart() {
    run(async {
        let world = stage::stub("language", |_| ()).await;
        let admin = Direct::open(&world, world.admin()).await;
        let alice = Direct::open(&world, &world.users()[0]).await;
        admin.expect("状态", &["数据库：正常"]).await;
        admin.expect("status", &["Database: ok", "Receiving: webhook"]).await;
        admin.expect("language fr", &["language en, language zh"]).await;
        // Whoever is no admin chooses as well: it is only about answers to them.
        alice.expect("语言 中文", &["以后我用中文回答你"]).await;
        alice.expect("status", &["你无权使用 status", world.admin().user_id()]).await;
        admin.expect("status", &["Database: ok"]).await;

        world.bridge().kill().await.unwrap();
        world.bridge().resume().await.unwrap();
        alice.expect("help", &["命令："]).await;
        alice.expect("help en", &["Commands:"]).await;
        alice.expect("ping", &["在的"]).await;
        alice.expect("language en", &["I answer you in English"]).await;
        alice.expect("ping", &["Pong."]).await;
        world.stop().await.unwrap();
    });
}
