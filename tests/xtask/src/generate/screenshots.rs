//! The pictures of `docs/images`, taken by the test that looks at the pages.

use std::path::Path;

use crate::{
    output::{answer, say},
    process::{self, Output},
    test::install,
};

/// The test.
const TEST: &str = "people_talk_through_the_two_pages";

/// A font with Chinese characters, which a bare machine lacks.
const FONT: &str = "fonts-wqy-microhei";

pub(super) async fn take(root: &Path) -> anyhow::Result<()> {
    let folder = root.join("docs/images");
    let browser = install::browser().await?;
    if !has_chinese_font().await {
        install::packages(FONT, "the Chinese texts of the screenshots").await?;
    }
    let variables = [
        (world::BROWSER_VARIABLE.to_owned(), browser.display().to_string()),
        (world::SCREENSHOTS_VARIABLE.to_owned(), folder.display().to_string()),
    ];
    let build = format!("cargo build --bins -p {}", world::PACKAGES.join(" -p "));
    for command in [build, format!("cargo test --workspace --test it -- {TEST}")] {
        let words: Vec<String> = command.split(' ').map(str::to_owned).collect();
        let status = process::run(&words, root, &variables, Output::Standard(&mut answer)).await?;
        anyhow::ensure!(status.success(), "`{command}` failed: {status}");
    }
    say(&format!("The screenshots are in {}; look at them before you keep them.", folder.display()));
    Ok(())
}

async fn has_chinese_font() -> bool {
    let list = tokio::process::Command::new("fc-list").arg(":lang=zh").output().await;
    list.is_ok_and(|list| !list.stdout.is_empty())
}
