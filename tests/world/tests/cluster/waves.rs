//! A new image of the bridge comes by a change of the platform's, in a wave, while people of both sides write.

use std::{
    path::Path,
    sync::atomic::{AtomicBool, Ordering},
    time::Duration,
};

use test_support::wait_until;
use world::{BridgedChat, ClusterWorld};

use crate::{AGAIN, arrive_once, write_both};

/// How often people write.
const PACE: Duration = Duration::from_millis(250);

const OPERATOR: &str = "dingtalk-operator";

/// The image is the same under another name: what counts is that the pod is replaced, and the operators with it.
pub(crate) async fn a_new_image_comes_in_a_wave_while_people_write(world: &ClusterWorld, chat: &BridgedChat) {
    let before = world.bridge().pod().await.unwrap();
    let image = image(world).await;
    let next = format!("{}:next", image.rsplit_once(':').unwrap().0);
    world.cluster().unwrap().name_image(&image, &next).await.unwrap();
    let is_over = AtomicBool::new(false);
    let ((), many) = tokio::join!(
        async {
            changes_the_platform(world, &next).await;
            world.bridge().wait_ready(AGAIN, |pod| pod.uid != before.uid).await.unwrap();
            is_over.store(true, Ordering::Relaxed);
        },
        people_write(world, chat, &is_over)
    );
    let told = wait_until(AGAIN, "the status to tell the new image", async || {
        let object =
            world.kubectl().json(&["-n", world.namespace(), "get", "dtb", world.name()]).await.ok()?;
        (object["status"]["image"] == next.as_str()).then_some(())
    });
    told.await.unwrap();
    for way in ["right", "left"] {
        arrive_once(world, chat, "wave", way, many).await;
    }
}

async fn image(world: &ClusterWorld) -> String {
    let name = dingtalk_crds::names::child(world.name());
    let deployment =
        world.kubectl().json(&["-n", world.namespace(), "get", "deployment", &name]).await.unwrap();
    deployment["spec"]["template"]["spec"]["containers"][0]["image"].as_str().unwrap().to_owned()
}

/// What the cluster's admin does.
async fn changes_the_platform(world: &ClusterWorld, image: &str) {
    let chart = Path::new(env!("CARGO_MANIFEST_DIR")).join("../../charts").join(OPERATOR);
    let (chart, set) = (chart.display().to_string(), format!("platform.image.reference={image}"));
    let upgrade = ["upgrade", OPERATOR, &chart, "-n", OPERATOR, "--reuse-values", "--set", &set];
    world.kubectl().helm(&upgrade).await.unwrap();
}

/// Writes until it is over, and some more for the new pod; answers how many.
async fn people_write(world: &ClusterWorld, chat: &BridgedChat, is_over: &AtomicBool) -> usize {
    let mut pace = tokio::time::interval(PACE);
    let (mut many, mut after) = (0, 0);
    while after < 4 {
        pace.tick().await;
        write_both(world, chat, "wave", many).await;
        many += 1;
        after += usize::from(is_over.load(Ordering::Relaxed));
    }
    many
}
