package io.berth.e2e;

import static com.tngtech.archunit.base.DescribedPredicate.not;
import static com.tngtech.archunit.core.domain.JavaAccess.Predicates.target;
import static com.tngtech.archunit.core.domain.JavaClass.Predicates.resideInAPackage;
import static com.tngtech.archunit.core.domain.JavaClass.Predicates.resideInAnyPackage;
import static com.tngtech.archunit.core.domain.JavaClass.Predicates.type;
import static com.tngtech.archunit.core.domain.properties.HasName.Predicates.name;
import static com.tngtech.archunit.core.domain.properties.HasOwner.Predicates.With.owner;
import static com.tngtech.archunit.lang.syntax.ArchRuleDefinition.fields;
import static com.tngtech.archunit.lang.syntax.ArchRuleDefinition.noClasses;
import static org.assertj.core.api.Assertions.assertThat;

import com.tngtech.archunit.core.domain.JavaClasses;
import com.tngtech.archunit.core.importer.ClassFileImporter;
import com.tngtech.archunit.core.importer.ImportOption;
import java.util.ArrayList;
import java.util.List;
import java.util.TreeSet;
import org.jspecify.annotations.NullMarked;
import org.junit.jupiter.api.Test;

/** The rules of docs/architecture.md that a compiler does not see. */
class ArchitectureTest {
  /** From the bottom up: a module knows those of lower levels, none of its own or a higher one. */
  private static final List<List<String>> LEVELS =
      List.of(
          List.of("io.berth.linux", "io.berth.oci"),
          List.of("io.berth.snapshot", "io.berth.cni", "io.berth.streaming", "io.berth.stats"),
          List.of("io.berth.image", "io.berth.sandbox"),
          List.of("io.berth.runtime"),
          List.of("io.berth.daemon"));

  /** The module cri-api; below all others, and not looked into. */
  private static final List<String> GENERATED = List.of("io.berth.cri.v1", "io.berth.admin.v1");

  private static final JavaClasses CLASSES =
      new ClassFileImporter()
          .withImportOption(ImportOption.Predefined.DO_NOT_INCLUDE_TESTS)
          .withImportOption(location ->
              GENERATED.stream().noneMatch(it -> location.contains(it.replace('.', '/'))))
          .importPackages("io.berth");

  @Test
  void everyModuleIsLookedAt() {
    var packages = new TreeSet<String>();
    CLASSES.forEach(type -> packages.add(type.getPackageName()));

    assertThat(packages).containsExactlyInAnyOrderElementsOf(packagesUpTo(LEVELS.size()));
  }

  @Test
  void modulesKnowOnlyModulesOfLowerLevels() {
    for (int level = 0; level < LEVELS.size(); level++) {
      for (String module : LEVELS.get(level)) {
        List<String> known = new ArrayList<>(GENERATED);
        known.addAll(packagesUpTo(level));
        known.add(module);
        noClasses()
            .that()
            .resideInAPackage(module)
            .should()
            .dependOnClassesThat(
                resideInAPackage("io.berth..")
                    .and(not(resideInAnyPackage(known.toArray(String[]::new)))))
            .because("dependencies point down the levels only")
            .check(CLASSES);
      }
    }
  }

  @Test
  void nativeCodeIsCalledInLinuxAlone() {
    noClasses()
        .that()
        .resideOutsideOfPackage("io.berth.linux")
        .should()
        .dependOnClassesThat()
        .resideInAnyPackage("com.sun.jna..", "java.lang.foreign..")
        .check(CLASSES);
  }

  @Test
  void generatedTypesStopAtTheGrpcAdapters() {
    noClasses()
        .that()
        .resideOutsideOfPackage("io.berth.daemon")
        .and()
        .haveNameNotMatching(".*\\.\\w*Grpc\\w*(\\$.*)?") // with their lambdas and inner types
        .should()
        .dependOnClassesThat()
        .resideInAnyPackage("io.berth.cri.v1", "io.berth.admin.v1", "com.google.protobuf..")
        .because("managers and stores speak the field's terms, not the wire's")
        .check(CLASSES);
  }

  @Test
  void processesAreStartedByLinuxAlone() {
    noClasses()
        .should()
        .dependOnClassesThat()
        .haveFullyQualifiedName("java.lang.ProcessBuilder")
        .orShould()
        .callMethodWhere(target(owner(type(Runtime.class))).and(target(name("exec"))))
        .because("io.berth.linux.Subprocess kills whole groups, reaps by pidfd and blocks no one")
        .check(CLASSES);
  }

  @Test
  void staticStateIsConstant() {
    fields().that().areStatic().should().beFinal().check(CLASSES);
  }

  @Test
  void everyPackageIsNullMarked() {
    assertThat(packagesUpTo(LEVELS.size())).allMatch(ArchitectureTest::isNullMarked, "null-marked");
  }

  private static boolean isNullMarked(String packageName) {
    String info = packageName + ".package-info";
    return CLASSES.contain(info) && CLASSES.get(info).isAnnotatedWith(NullMarked.class);
  }

  /** Packages of the lowest {@code levels} levels. */
  private static List<String> packagesUpTo(int levels) {
    return LEVELS.stream().limit(levels).flatMap(List::stream).toList();
  }
}
