package io.berth.runtime;

import static org.assertj.core.api.Assertions.assertThat;

import io.berth.linux.Cgroups;
import java.io.IOException;
import java.nio.file.Files;
import java.nio.file.Path;
import org.junit.jupiter.api.Test;
import org.junit.jupiter.api.io.TempDir;

/** Against folders that look like cgroups; OomIT does it with the kernel. */
class OomKillsTest {
  @TempDir Path folder;
  private final Container container =
      Containers.of(Containers.id("aa"), "web", ContainerState.RUNNING);

  private Path legacy() throws IOException {
    write("cgroup/memory/cgroup.procs", "");
    return Path.of("cgroup/memory" + container.cgroup());
  }

  private Path unified() throws IOException {
    write("cgroup/cgroup.controllers", "memory");
    return Path.of("cgroup" + container.cgroup());
  }

  private void write(String file, String content) throws IOException {
    Path path = folder.resolve(file);
    Files.createDirectories(path.getParent());
    Files.writeString(path, content);
  }

  private boolean struck() {
    return new OomKills(layout(), Cgroups.detect(folder.resolve("cgroup"))).struck(container);
  }

  private ContainerLayout layout() {
    return new ContainerLayout(folder.resolve("run"), folder.resolve("root"));
  }

  @Test
  void aLimitReachedWithoutAKillIsNone() throws IOException {
    write(legacy() + "/memory.oom_control", "oom_kill_disable 0\nunder_oom 1\noom_kill 0\n");
    assertThat(struck()).isFalse();
  }

  @Test
  void aKillCounts() throws IOException {
    write(legacy() + "/memory.oom_control", "oom_kill_disable 0\nunder_oom 0\noom_kill 1\n");
    assertThat(struck()).isTrue();
  }

  @Test
  void aKillInACgroupThatTheContainerMadeCountsOnV1() throws IOException {
    write(legacy() + "/memory.oom_control", "oom_kill_disable 0\nunder_oom 0\noom_kill 0\n");
    write(legacy() + "/own/deep/memory.oom_control", "oom_kill 2\n");
    write(legacy() + "/own/memory.oom_control", "oom_kill 0\n");
    assertThat(struck()).isTrue();
  }

  @Test
  void v2CountsKillsAndNotLimitsReached() throws IOException {
    String events = unified() + "/memory.events";
    write(events, "low 0\nhigh 3\nmax 7\noom 2\noom_kill 0\noom_group_kill 0\n");
    assertThat(struck()).isFalse();
    write(events, "low 0\nhigh 3\nmax 7\noom 2\noom_kill 1\noom_group_kill 0\n");
    assertThat(struck()).isTrue();
  }

  /** A pod's cgroup of version 2 with the container and another one in it. */
  private OomKills watchedPod(int killsBefore) throws IOException {
    write(unified().getParent() + "/memory.events", "oom_kill " + killsBefore + "\n");
    write(unified() + "/memory.events", "oom_kill 0\n");
    write(unified().resolveSibling("other") + "/memory.events", "oom_kill 0\n");
    var kills = new OomKills(layout(), Cgroups.detect(folder.resolve("cgroup")));
    kills.watch(container);
    return kills;
  }

  private void removeCgroup(Path cgroup) throws IOException {
    Files.delete(folder.resolve(cgroup).resolve("memory.events"));
    Files.delete(folder.resolve(cgroup));
  }

  @Test
  void whatOnlyThePodHasCountedIsOfTheCgroupThatIsGone() throws IOException {
    OomKills kills = watchedPod(5);
    removeCgroup(unified());
    write(unified().getParent() + "/memory.events", "oom_kill 6\n");
    assertThat(kills.struck(container)).isTrue();
  }

  @Test
  void killsOfBeforeAndOfOtherContainersAreNotOfTheCgroupThatIsGone() throws IOException {
    OomKills kills = watchedPod(5);
    removeCgroup(unified());
    write(unified().resolveSibling("other") + "/memory.events", "oom_kill 2\n");
    write(unified().getParent() + "/memory.events", "oom_kill 7\n");
    assertThat(kills.struck(container)).isFalse();
  }

  @Test
  void aKillOfOneThatEndedEarlierIsCountedOnceWhetherItsCgroupIsThereOrGone() throws IOException {
    OomKills kills = watchedPod(0);
    Container other = Containers.of(Containers.id("bb"), "other", ContainerState.RUNNING);
    Path cgroup = Path.of("cgroup" + other.cgroup());
    write(cgroup + "/memory.events", "oom_kill 1\n");
    write(unified().getParent() + "/memory.events", "oom_kill 1\n");
    kills.watch(other);
    assertThat(kills.struck(other)).isTrue();

    Container third = Containers.of(Containers.id("cc"), "third", ContainerState.RUNNING);
    Path thirdCgroup = Path.of("cgroup" + third.cgroup());
    write(thirdCgroup + "/memory.events", "oom_kill 0\n");
    kills.watch(third);
    removeCgroup(thirdCgroup);
    assertThat(kills.struck(third)).as("the other's cgroup is there").isFalse();
    removeCgroup(cgroup);
    removeCgroup(unified());
    assertThat(kills.struck(container)).as("the other's cgroup is gone").isFalse();
  }

  @Test
  void killsOfACreationThatFailedAreNotOfTheNextContainer() throws IOException {
    OomKills kills = watchedPod(0);
    write(unified().getParent() + "/memory.events", "oom_kill 1\n"); // in a cgroup long gone
    Container next = Containers.of(Containers.id("bb"), "next", ContainerState.RUNNING);
    Path cgroup = Path.of("cgroup" + next.cgroup());
    write(cgroup + "/memory.events", "oom_kill 0\n");
    kills.watch(next);
    removeCgroup(cgroup);
    assertThat(kills.struck(next)).isFalse();
  }

  private final Container other =
      Containers.of(Containers.id("bb"), "other", ContainerState.RUNNING);

  /** Two have gone at once, with one kill between them. */
  private OomKills twoGone(boolean counted, boolean otherCounted) throws IOException {
    OomKills kills = watchedPod(0);
    Path cgroup = Path.of("cgroup" + other.cgroup());
    write(cgroup + "/memory.events", "oom_kill 0\n");
    kills.watch(other);
    if (counted) {
      write(unified() + "/memory.events", "max 7\noom_kill 0\n");
    }
    if (otherCounted) {
      write(cgroup + "/memory.events", "max 1\noom_kill 0\n");
    }
    removeCgroup(cgroup);
    removeCgroup(unified());
    write(unified().getParent() + "/memory.events", "oom_kill 1\n");
    return kills;
  }

  @Test
  void ofTwoThatHaveGoneAtOnceTheOneWhoseCountersHaveChangedIsAccused() throws IOException {
    OomKills kills = twoGone(true, false);
    assertThat(kills.struck(other)).isFalse();
    assertThat(kills.struck(container)).isTrue();
  }

  @Test
  void soItIsInWhateverOrderTheyAreAskedAbout() throws IOException {
    OomKills kills = twoGone(true, false);
    assertThat(kills.struck(container)).isTrue();
    assertThat(kills.struck(other)).isFalse();
  }

  @Test
  void whenTwoHaveGoneAtOnceWithChangedCountersNeitherIsAccused() throws IOException {
    OomKills kills = twoGone(true, true);
    assertThat(kills.struck(other)).isFalse();
    assertThat(kills.struck(container)).isFalse();
  }

  @Test
  void conmonsMarkCountsOnlyWhenTheCgroupIsGone() throws IOException {
    Path mark = layout().oomMark(container.id());
    Files.createDirectories(mark.getParent());
    Files.writeString(mark, "");
    write(legacy() + "/memory.oom_control", "oom_kill 0\n");
    assertThat(struck()).isFalse();
    Files.delete(folder.resolve(legacy() + "/memory.oom_control"));
    assertThat(struck()).isTrue();
    Files.delete(mark);
    assertThat(struck()).isFalse();
  }
}
