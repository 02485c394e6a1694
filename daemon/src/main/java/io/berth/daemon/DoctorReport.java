package io.berth.daemon;

import com.fasterxml.jackson.core.JsonProcessingException;
import com.fasterxml.jackson.databind.SerializationFeature;
import com.fasterxml.jackson.databind.json.JsonMapper;
import java.util.List;
import java.util.Locale;

/// Findings for people, or for programs.
final class DoctorReport {
  private DoctorReport() {}

  /// Prints to standard output.
  ///
  /// @return the exit code: 1 when something fails
  static int print(List<Finding> findings, boolean json) {
    System.out.println(json ? json(findings) : text(findings));
    return findings.stream().anyMatch(finding -> finding.level() == Finding.Level.FAILURE) ? 1 : 0;
  }

  static String text(List<Finding> findings) {
    var text = new StringBuilder();
    for (Finding finding : findings) {
      if (!text.isEmpty()) {
        text.append('\n');
      }
      text.append(
          String.format(
              Locale.ROOT,
              "%-7s  %-18s  %s",
              finding.level().name().toLowerCase(Locale.ROOT),
              finding.subject(),
              finding.found()));
      if (!finding.advice().isEmpty()) {
        text.append("\n").append(" ".repeat(29)).append("-> ").append(finding.advice());
      }
    }
    return text.toString();
  }

  static String json(List<Finding> findings) {
    try {
      return JsonMapper.builder()
          .enable(SerializationFeature.INDENT_OUTPUT)
          .build()
          .writeValueAsString(findings);
    } catch (JsonProcessingException impossible) {
      throw new IllegalStateException(impossible);
    }
  }
}
