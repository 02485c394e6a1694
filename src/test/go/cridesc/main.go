// Command cridesc prints what the published CRI says, one sorted line for each service, method,
// message, field and enum value. A test prints the same lines from our own descriptors and compares.
//
//	enum runtime.v1.Protocol UDP = 1
//	field runtime.v1.Image.size 4 optional uint64 json=size
//	field runtime.v1.PodSandbox.labels 5 map<string,string> json=labels
//	field runtime.v1.AuthConfig.password 2 optional string json=password debug_redact
//	message runtime.v1.Image
//	method runtime.v1.RuntimeService.GetContainerEvents runtime.v1.GetEventsRequest stream runtime.v1.ContainerEventResponse
//	service runtime.v1.RuntimeService
package main

import (
	"fmt"
	"slices"
	"strings"

	"google.golang.org/protobuf/reflect/protoreflect"
	"google.golang.org/protobuf/types/descriptorpb"
	v1 "k8s.io/cri-api/pkg/apis/runtime/v1"
)

type lines []string

func (l *lines) add(words ...string) {
	*l = append(*l, strings.Join(slices.DeleteFunc(words, func(w string) bool { return w == "" }), " "))
}

// when returns word if it applies.
func when(applies bool, word string) string {
	if applies {
		return word
	}
	return ""
}

func (l *lines) service(s protoreflect.ServiceDescriptor) {
	l.add("service", string(s.FullName()))
	for i := range s.Methods().Len() {
		m := s.Methods().Get(i)
		l.add("method", string(m.FullName()),
			when(m.IsStreamingClient(), "stream"), string(m.Input().FullName()),
			when(m.IsStreamingServer(), "stream"), string(m.Output().FullName()))
	}
}

func (l *lines) message(m protoreflect.MessageDescriptor) {
	if m.IsMapEntry() {
		return // told with the field
	}
	l.add("message", string(m.FullName()))
	for i := range m.Fields().Len() {
		f := m.Fields().Get(i)
		options := f.Options().(*descriptorpb.FieldOptions)
		l.add("field", string(f.FullName()), fmt.Sprint(f.Number()), kind(f), "json="+f.JSONName(),
			when(options.GetDeprecated(), "deprecated"), when(options.GetDebugRedact(), "debug_redact"),
			when(f.ContainingOneof() != nil, "oneof"), when(f.HasPresence() && f.Message() == nil, "presence"))
	}
	for i := range m.Messages().Len() {
		l.message(m.Messages().Get(i))
	}
	l.enums(m.Enums())
}

func (l *lines) enums(enums protoreflect.EnumDescriptors) {
	for i := range enums.Len() {
		e := enums.Get(i)
		for j := range e.Values().Len() {
			v := e.Values().Get(j)
			l.add("enum", string(e.FullName()), string(v.Name()), "=", fmt.Sprint(v.Number()))
		}
	}
}

// kind is a field's label and type, or both types of a map.
func kind(f protoreflect.FieldDescriptor) string {
	if f.IsMap() {
		return "map<" + typeName(f.MapKey()) + "," + typeName(f.MapValue()) + ">"
	}
	return f.Cardinality().String() + " " + typeName(f)
}

func typeName(f protoreflect.FieldDescriptor) string {
	switch {
	case f.Message() != nil:
		return string(f.Message().FullName())
	case f.Enum() != nil:
		return string(f.Enum().FullName())
	default:
		return f.Kind().String()
	}
}

func main() {
	file := (&v1.Image{}).ProtoReflect().Descriptor().ParentFile()
	var out lines
	out.add("package", string(file.Package()))
	for i := range file.Services().Len() {
		out.service(file.Services().Get(i))
	}
	for i := range file.Messages().Len() {
		out.message(file.Messages().Get(i))
	}
	out.enums(file.Enums())
	slices.Sort(out)
	fmt.Println(strings.Join(out, "\n"))
}
